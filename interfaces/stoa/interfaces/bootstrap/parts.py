"""Values that providers pass to each other: parts that belong together or may be missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NewType, Protocol

from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.concurrency.supervisor import Background
from stoa.application.metering.relay_events import RelayMetering
from stoa.application.ports.answer_store import AnswerStore
from stoa.application.ports.approvals import Approvals
from stoa.application.ports.budget_ledger import BudgetLedger
from stoa.application.ports.catalogue_observer import CatalogueObserver
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.event_store import EventStore
from stoa.application.ports.health import HealthProbe
from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.application.ports.message_bus import MessageBus
from stoa.application.ports.metering import MeteringSink, UsageLog
from stoa.application.ports.one_time_marks import OneTimeMarks
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.session_store import SessionStore
from stoa.application.ports.spec import SpecSource
from stoa.application.ports.spec_kind import SpecKind
from stoa.application.ports.task_store import TaskStore
from stoa.application.ports.token_verifier import TokenIssuer, TokenVerifier
from stoa.application.ports.tool_backend import ToolBackend
from stoa.application.ports.tool_source import ToolSource
from stoa.domain.metering.budget import Account
from stoa.domain.metering.money import MicroUnits
from stoa.interfaces.http.lifecycle import Reload
from stoa.interfaces.mcp.streams.sessions import Sessions

Version = NewType("Version", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the gateway that needs the process that runs it."""

    probes: tuple[HealthProbe, ...] = ()
    """Probes for `/ready`."""
    background: Mapping[str, Background] = field(default_factory=dict[str, Background])
    """Background work for the Supervisor, by name."""
    reloads: Mapping[str, Reload] = field(default_factory=dict[str, Reload])
    """Reloads on SIGHUP, by name."""


@dataclass(frozen=True, slots=True)
class McpPart:
    """The back end of upstream MCP servers and the source of its ToolSets, which share sessions."""

    backend: ToolBackend
    spec_kind: SpecKind[Any]
    observer: CatalogueObserver


@dataclass(frozen=True, slots=True)
class MeteringPart(Part):
    """The writing and the reading side of the store of metering events."""

    sink: MeteringSink
    log: UsageLog
    waiting: UsageLog | None = None
    """The events still to be forwarded, if there is a relay."""


@dataclass(frozen=True, slots=True)
class RelayPart(Part):
    """The relay of metering events, if KAFKA_BOOTSTRAP_SERVERS names brokers."""

    relay: RelayMetering | None


@dataclass(frozen=True, slots=True)
class KubernetesPart(Part):
    """The catalogue in Kubernetes; empty without K8S_WATCHER_ENABLED."""

    sources: tuple[ToolSource, ...] = ()
    specs: SpecSource | None = None
    """The source of descriptions in ConfigMaps."""
    credentials: tuple[CredentialSource, ...] = ()
    catalogue_observers: tuple[CatalogueObserver, ...] = ()
    observers: tuple[InvocationObserver, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchdogPart(Part):
    """The watchdog of the event loop."""


@dataclass(frozen=True, slots=True)
class TracingPart(Part):
    """The tracer of calls, if OTEL_EXPORTER_OTLP_ENDPOINT names a collector."""

    observers: tuple[InvocationObserver, ...] = ()


RecoverBudgets = Callable[[str, Callable[[], Mapping[Account, MicroUnits]]], None]
"""Recovers budgets, given the name of this deployment's log and a function that reads this month's spending from it."""


@dataclass(frozen=True, slots=True)
class SharedState(Part):
    """State that replicas share, if REDIS_URL is set."""

    bus: MessageBus
    sessions: SessionStore
    events: EventStore
    tasks: TaskStore
    budgets: BudgetLedger
    recover_budgets: RecoverBudgets
    marks: OneTimeMarks
    approvals: Approvals
    answers: AnswerStore


@dataclass(frozen=True, slots=True)
class OptionalSharedState:
    """The shared state; None: this process shares nothing."""

    parts: SharedState | None


@dataclass(frozen=True, slots=True)
class FurtherBlueprints:
    """Quart blueprints that are served along with the gateway's own. Functions make them, because importing Quart takes
    time that commands without a server need not spend."""

    make: tuple[Callable[[], Any], ...] = ()


@dataclass(frozen=True, slots=True)
class StartCheck:
    """Check of the first catalogue, before anything is served. `run` raises InvalidInput to refuse the start."""

    run: Callable[[CatalogueLoader], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class SessionParts:
    """Sessions of the handshake era, if enabled."""

    sessions: Sessions | None


class IdentityProvider(Protocol):
    """An external identity provider, whose keys have to be fetched."""

    async def start(self) -> None: ...


@dataclass(frozen=True, slots=True)
class IdentityPart(Part):
    """The verifier of tokens, and in development their issuer."""

    verifier: TokenVerifier
    issuer: TokenIssuer | None
    provider: IdentityProvider | None = None


@dataclass(frozen=True, slots=True)
class LimiterPart(Part):
    """The rate limiter."""

    limiter: RateLimiter


@dataclass(frozen=True, slots=True)
class PolicyPart(Part):
    """The policy engine."""

    engine: PolicyEngine
