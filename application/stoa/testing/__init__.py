"""Adapters and a harness for tests of programs that embed the gateway, and of the gateway itself.

    from stoa.testing import GatewayHarness, ManualClock

No part of the product imports this package. The adapters keep the laws of their ports: the same contract suites hold
them and those of the product.
"""

from stoa.testing.budget_watcher import InMemoryBudgetWatcher
from stoa.testing.catalogue_observer import InMemoryCatalogueObserver
from stoa.testing.client_channel import InMemoryClientChannel, InMemoryRoundChannel
from stoa.testing.clock import ManualClock
from stoa.testing.event_publisher import InMemoryEventPublisher
from stoa.testing.gateway_harness import UNLIMITED, GatewayHarness
from stoa.testing.ids import SequentialIds
from stoa.testing.invocation_observer import InMemoryInvocationObserver
from stoa.testing.metering_backlog import InMemoryMeteringBacklog
from stoa.testing.refusal_watcher import InMemoryRefusalWatcher
from stoa.testing.token_counter import InMemoryTokenCounter
from stoa.testing.token_endpoint import InMemoryTokenEndpoint
from stoa.testing.tracer import InMemorySpan, InMemoryTracer
from stoa.testing.upstream_access import InMemoryUpstreamAccess

__all__ = [
    "UNLIMITED",
    "GatewayHarness",
    "InMemoryBudgetWatcher",
    "InMemoryCatalogueObserver",
    "InMemoryClientChannel",
    "InMemoryEventPublisher",
    "InMemoryInvocationObserver",
    "InMemoryMeteringBacklog",
    "InMemoryRefusalWatcher",
    "InMemoryRoundChannel",
    "InMemorySpan",
    "InMemoryTokenCounter",
    "InMemoryTokenEndpoint",
    "InMemoryTracer",
    "InMemoryUpstreamAccess",
    "ManualClock",
    "SequentialIds",
]
