"""Parts that come together, or that may be missing: what the providers hand to each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NewType, Protocol

from stoa.application.concurrency.supervisor import Background
from stoa.application.metering.relay_events import RelayMetering
from stoa.application.ports.budget_ledger import BudgetLedger
from stoa.application.ports.event_store import EventStore
from stoa.application.ports.health import HealthProbe
from stoa.application.ports.message_bus import MessageBus
from stoa.application.ports.metering import MeteringSink, UsageLog
from stoa.application.ports.one_time_marks import OneTimeMarks
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.session_store import SessionStore
from stoa.application.ports.task_store import TaskStore
from stoa.application.ports.token_verifier import TokenIssuer, TokenVerifier
from stoa.domain.metering.budget import Account
from stoa.domain.metering.money import MicroUnits
from stoa.interfaces.http.lifecycle import Reload
from stoa.interfaces.mcp.streams.sessions import Sessions

Version = NewType("Version", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a part of the gateway wants of the process that runs it."""

    probes: tuple[HealthProbe, ...] = ()
    """For `/ready`."""
    background: Mapping[str, Background] = field(default_factory=dict[str, Background])
    """Work for its Supervisor, by name."""
    reloads: Mapping[str, Reload] = field(default_factory=dict[str, Reload])
    """What it reads again on SIGHUP, by name."""


@dataclass(frozen=True, slots=True)
class MeteringPart(Part):
    """Both ends of where events are kept."""

    sink: MeteringSink
    log: UsageLog
    waiting: UsageLog | None = None
    """What is still to be forwarded, where something forwards."""


@dataclass(frozen=True, slots=True)
class RelayPart(Part):
    """What forwards metering events, where KAFKA_BOOTSTRAP_SERVERS says so."""

    relay: RelayMetering | None


@dataclass(frozen=True, slots=True)
class WatchdogPart(Part):
    """What notices an event loop that is kept busy."""


RecoverBudgets = Callable[[str, Callable[[], Mapping[Account, MicroUnits]]], None]
"""Given what names the log of this deployment and reads from it what was spent this month."""


@dataclass(frozen=True, slots=True)
class SharedState(Part):
    """What replicas share, where REDIS_URL says so."""

    bus: MessageBus
    sessions: SessionStore
    events: EventStore
    tasks: TaskStore
    budgets: BudgetLedger
    recover_budgets: RecoverBudgets
    marks: OneTimeMarks


@dataclass(frozen=True, slots=True)
class OptionalSharedState:
    """None: this process shares nothing."""

    parts: SharedState | None


@dataclass(frozen=True, slots=True)
class SessionParts:
    """Sessions of the handshake era, if there are any."""

    sessions: Sessions | None


class IdentityProvider(Protocol):
    """One in another process, which has to be asked for its keys."""

    async def start(self) -> None: ...


@dataclass(frozen=True, slots=True)
class IdentityPart(Part):
    """Who verifies tokens, and in development who makes them."""

    verifier: TokenVerifier
    issuer: TokenIssuer | None
    provider: IdentityProvider | None = None


@dataclass(frozen=True, slots=True)
class LimiterPart(Part):
    """Who counts."""

    limiter: RateLimiter


@dataclass(frozen=True, slots=True)
class PolicyPart(Part):
    """Who decides."""

    engine: PolicyEngine
