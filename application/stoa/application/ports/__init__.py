"""The ports: what the use cases need from the outside, one small Protocol per file.

Each docstring states the laws that every adapter keeps; `tests/contracts` holds the adapters to them. The
in-memory adapters live in `stoa.application.memory` and are part of the product.
"""

from stoa.application.ports.answer_store import AnswerStore, StoredPiece
from stoa.application.ports.approvals import Approvals
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.budget_ledger import BudgetLedger, BudgetVerdict
from stoa.application.ports.budget_watcher import BudgetWatcher
from stoa.application.ports.catalogue_observer import CatalogueLoad, CatalogueObserver, ManifestReport
from stoa.application.ports.client_channel import (
    ClientChannel,
    GovernedClientRequests,
    RoundClientChannel,
    WaitingClientChannel,
)
from stoa.application.ports.clock import Clock, IdFactory
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.event_publisher import EventPublisher
from stoa.application.ports.event_store import EventStore, Replay, StoredEvent
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.invocation_observer import (
    InvocationObserver,
    InvocationTracer,
    RefusalObserver,
    Span,
)
from stoa.application.ports.manifest_parts import BindingManifest, DocumentSourceManifest, SourceManifest
from stoa.application.ports.message_bus import MessageBus, Subscription
from stoa.application.ports.metering import MeteringSink, SegmentedLog, SegmentReading, UsageLog
from stoa.application.ports.metering_backlog import Batch, MeteringBacklog, RecordedEvent, Rejected, RelayStatus
from stoa.application.ports.one_time_marks import OneTimeMarks
from stoa.application.ports.operation_source import OperationSnapshot, OperationSource
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.refusal_watcher import RefusalWatcher
from stoa.application.ports.session_store import SessionStore
from stoa.application.ports.spec import (
    Conversion,
    ConversionOptions,
    FollowedDocuments,
    SpecConverter,
    SpecCredential,
    SpecDocument,
    SpecFile,
    SpecSource,
)
from stoa.application.ports.spec_kind import ChangingSpecKind, ReadDocument, SpecKind, SpecPlace
from stoa.application.ports.task_store import TaskStore
from stoa.application.ports.token_counter import TokenCounter
from stoa.application.ports.token_endpoint import GrantedToken, TokenEndpoint, TokenRequest
from stoa.application.ports.token_verifier import TokenIssuer, TokenVerifier
from stoa.application.ports.tool_backend import (
    Announcing,
    BackendCall,
    CallContext,
    Completing,
    NamedByManifests,
    Previewable,
    ReadingResources,
    ToolBackend,
)
from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.application.ports.upstream_access import UpstreamAccess

__all__ = [
    "Announcing",
    "AnswerStore",
    "Approvals",
    "BackendCall",
    "Batch",
    "BindingManifest",
    "BoundedExecutor",
    "BudgetLedger",
    "BudgetVerdict",
    "BudgetWatcher",
    "CallContext",
    "CatalogueLoad",
    "CatalogueObserver",
    "ChangingSpecKind",
    "ClientChannel",
    "Clock",
    "Completing",
    "Conversion",
    "ConversionOptions",
    "CredentialSource",
    "DocumentSourceManifest",
    "EventPublisher",
    "EventStore",
    "FollowedDocuments",
    "GovernedClientRequests",
    "GrantedToken",
    "Health",
    "HealthProbe",
    "IdFactory",
    "InvocationObserver",
    "InvocationTracer",
    "ManifestDocument",
    "ManifestReport",
    "MessageBus",
    "MeteringBacklog",
    "MeteringSink",
    "NamedByManifests",
    "OneTimeMarks",
    "OperationSnapshot",
    "OperationSource",
    "PolicyEngine",
    "Previewable",
    "RateLimiter",
    "ReadDocument",
    "ReadingResources",
    "RecordedEvent",
    "RefusalObserver",
    "RefusalWatcher",
    "Rejected",
    "RelayStatus",
    "Replay",
    "RoundClientChannel",
    "SegmentReading",
    "SegmentedLog",
    "SessionStore",
    "SourceManifest",
    "Span",
    "SpecConverter",
    "SpecCredential",
    "SpecDocument",
    "SpecFile",
    "SpecKind",
    "SpecPlace",
    "SpecSource",
    "StoredEvent",
    "StoredPiece",
    "Subscription",
    "TaskStore",
    "TokenCounter",
    "TokenEndpoint",
    "TokenIssuer",
    "TokenRequest",
    "TokenVerifier",
    "ToolBackend",
    "ToolSource",
    "UpstreamAccess",
    "UsageLog",
    "WaitingClientChannel",
]
