"""Stages of a call: each is a value that holds the stage before it.

    Received → Authenticated → Found → Authorised → Charged → Reserved → Sent
                             ↘       ↘ Denied

A call ends as Answered at any of them.

A stage exists only when its work was done, so no field is None because the call did not come so far, and the one place
that ends a call (`InvokeOperation._finish`) matches on the stage that it reached. No stage is changed after it was
made; they are not frozen, because a call makes eight, and a frozen one costs five times as much to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stoa.application.catalogue.compiled_operation import CompiledOperation
from stoa.application.client_requests.governor import RequestingCall
from stoa.application.metering.budgets import Reservation
from stoa.application.metering.recorder import noted_places
from stoa.application.ports.upstream_access import UpstreamAccess
from stoa.domain.access.fair_share import Place
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import LimitVerdict
from stoa.domain.client_requests.client_request import ClientRequest
from stoa.domain.errors import StoaError
from stoa.domain.metering.event import Status
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision, Permit
from stoa.domain.results.result import ToolResult
from stoa.domain.schema.json_value import JsonObject


@dataclass(slots=True)
class Received:
    """A call whose caller is not yet known."""


RECEIVED = Received()


@dataclass(slots=True)
class Authenticated:
    caller: Principal
    """The caller with its own tenant, regardless of the tenant that the invocation names."""


@dataclass(slots=True)
class Found:
    authenticated: Authenticated
    principal: Principal
    """The caller with its view on the tenant that the invocation names."""
    compiled: CompiledOperation


@dataclass(slots=True)
class Denied:
    """A call that found no operation or got no permit. Its caller is charged for it: a flood of denied calls must not
    be cheaper than one of allowed calls."""

    reached: Authenticated | Found
    principal: Principal
    """The caller, with its view on the tenant that the invocation names if it may have one."""
    decision: Decision | None
    """None: the policy was not asked, or gave no decision."""
    verdict: LimitVerdict | None = None
    """None: the limiter gave no verdict."""


@dataclass(slots=True)
class Authorised:
    found: Found
    arguments: JsonObject | None
    """The arguments that the policy saw; None if the sent value is not a JSON object, which is refused once the call is
    charged."""
    coerced: tuple[str, ...]
    """JSON Pointers to the arguments that were coerced to the type of their schema."""
    decision: Decision
    permit: Permit


@dataclass(slots=True)
class Charged:
    """A call that the rate limits have counted, or refused."""

    authorised: Authorised
    verdict: LimitVerdict
    tolerated: tuple[str, ...] = ()
    """JSON Pointers to the arguments that miss their schema and were let through."""
    metered: Mapping[str, str] | None = None
    """Valid arguments whose values the operation's metering events may show."""


@dataclass(slots=True)
class Reserved:
    """The arguments are valid, and the call holds what it needs: a place among the running calls, room for its metering
    event and, where a budget applies, money. All of it is given back or used up when the call ends."""

    charged: Charged
    arguments: JsonObject
    place: Place
    reservation: Reservation | None
    """None: no budget applies."""
    upstream: UpstreamAccess | None
    """The source of access tokens for the back end; None: its authentication is not oauth2."""
    requesting: RequestingCall | None
    """Counts its client requests and their cost; None: the call has no way to its client."""

    @property
    def requested_cost(self) -> int:
        """Micro-units that its client requests have cost so far."""
        return 0 if self.requesting is None else self.requesting.cost


@dataclass(slots=True)
class Sent:
    """The back end is being called, so the call has its price even if it fails; but not if nothing was sent."""

    reserved: Reserved


Stage = Received | Authenticated | Found | Denied | Authorised | Charged | Reserved | Sent


@dataclass(slots=True)
class Answered:
    """The end of a call, at the stage that it had reached. At most one of `result`, `error` and `client_requests` is
    set; a call that was cancelled has none."""

    stage: Stage
    status: Status
    result: ToolResult | None = None
    error: StoaError | None = None
    client_requests: Mapping[str, ClientRequest] | None = None


@dataclass(slots=True)
class Facts:
    """Facts of a call for its metering event, its outcome and logs; None where the call did not come so far."""

    principal: Principal | None = None
    operation: Operation | None = None
    decision: Decision | None = None
    verdict: LimitVerdict | None = None
    coerced: tuple[str, ...] = ()
    tolerated: tuple[str, ...] = ()
    metadata: Mapping[str, str] | None = None
    """Further members of its metering event."""


def facts_of(stage: Stage) -> Facts:
    # The stage of most calls is looked at by its class: a pattern costs more than the facts.
    if isinstance(stage, Sent):
        stage = stage.reserved
    if isinstance(stage, Reserved):
        stage = stage.charged
    if isinstance(stage, Charged):
        authorised, tolerated, metered = stage.authorised, stage.tolerated, stage.metered
        found, coerced = authorised.found, authorised.coerced
        metadata = None
        if coerced or tolerated or metered:
            metadata = {**_noted(coerced), **_noted(tolerated, "tolerated"), **(metered or {})}
        operation = found.compiled.operation
        return Facts(found.principal, operation, authorised.decision, stage.verdict, coerced, tolerated, metadata)
    match stage:
        case Authorised(Found(_, principal, compiled), _, coerced, decision):
            return Facts(principal, compiled.operation, decision, None, coerced, metadata=_noted(coerced))
        case Denied(reached, principal, denial, refusal):
            return replace(facts_of(reached), principal=principal, decision=denial, verdict=refusal)
        case Found(_, principal, compiled):
            return Facts(principal, compiled.operation)
        case Authenticated(caller):
            return Facts(caller)
        case Received():
            return Facts()


def _noted(places: tuple[str, ...], name: str = "coerced") -> Mapping[str, str]:
    return {name: noted_places(places)} if places else {}
