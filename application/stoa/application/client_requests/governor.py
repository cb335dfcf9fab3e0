"""Policy, limits and metering of client requests: the same for every door and both eras of MCP.

1  policy     each client request is a PolicyQuery of its own; a decision may also lower `max_tokens` of sampling
2  limits     requests of one call, then requests of one operation and tenant by the minute
3  metering   one event for each request that was sent, whether or not it was answered; without room for its event
              nothing is sent

`WaitingClientRequests` takes all steps while the function waits. `RoundClientRequests` takes the limit by the minute
and the metering when the round ends: until then the function may still do without, and a request that was answered in
an earlier round is not sent again.
"""

from dataclasses import dataclass, replace

from stoa.application.admission.callers import raise_if_limited
from stoa.application.metering.pricing import Pricing
from stoa.application.metering.recorder import Recorder
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.rate_limit import LimitCharge
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.client_requests.client_request import (
    ClientRequest,
    SamplingRequest,
    request_facts,
)
from stoa.domain.client_requests.rules import ClientRequests
from stoa.domain.errors import (
    ClientRequestRefused,
    MeteringUnavailable,
    StoaError,
)
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import ClientRequestFacts, Decision, PolicyQuery
from stoa.domain.schema.json_value import JsonObject


@dataclass(slots=True)
class RequestingCall:
    """The call that may make client requests, with their number and cost so far.

    Not frozen: one is made for every call that has a channel, and freezing costs a setattr for each field.
    """

    invocation: Invocation
    principal: Principal
    operation: Operation
    arguments: JsonObject
    request_id: str
    event_id: str
    requests: int = 0
    """Client requests so far, also those that were answered in an earlier round."""
    events: int = 0
    """Metering events of client requests so far."""
    cost: int = 0
    """Micro-units of these events."""

    def next_event_id(self) -> str:
        """The call's own event id with a running number, so that both can be found by one prefix."""
        self.events += 1
        return f"{self.event_id}.{self.events}"


@dataclass(slots=True)
class PermittedRequest:
    """A client request that policy and rules allow."""

    request: ClientRequest
    """The request to send: `max_tokens` of sampling may be lower than the function requested."""
    facts: ClientRequestFacts
    decision: Decision


class ClientRequestGovernor:
    """Decides, limits and meters the client requests of all calls."""

    def __init__(
        self,
        *,
        policy: PolicyEngine,
        rules: ClientRequests,
        limiter: RateLimiter,
        recorder: Recorder,
        pricing: Pricing,
    ) -> None:
        self._policy = policy
        self._rules = rules
        self._limiter = limiter
        self._recorder = recorder
        self._pricing = pricing

    def per_call(self, tenant: TenantId | None) -> int:
        """Upper bound on the client requests of one call."""
        return self._rules.of(tenant).per_call

    def count(self, call: RequestingCall, number: int) -> None:
        """Raises ClientRequestRefused for more requests than one call may make: a loop must not go on at the client's
        expense."""
        call.requests += number  # before the policy is asked, so that a loop of refused requests ends too
        limit = self.per_call(call.principal.tenant)
        if call.requests > limit:
            raise ClientRequestRefused(f"one call may ask {limit} questions")

    async def permit(self, call: RequestingCall, request: ClientRequest) -> PermittedRequest:
        """Raises ClientRequestRefused, which observers hear of, or PolicyUnavailable."""
        facts = request_facts(request)
        query = PolicyQuery(call.principal, call.operation, call.arguments, call.invocation.door, facts)
        decision = await self._decide(query, facts)
        permitted = PermittedRequest(request, facts, decision)
        if not decision.is_allowed:
            refused = ClientRequestRefused(decision.reason, decision)
            event = self._event(call, permitted, Status.UNAUTHORIZED, 0, refused, MicroUnits(0))
            self._tell(call, permitted, event, refused)
            raise refused
        cap = decision.max_tokens
        if isinstance(request, SamplingRequest) and cap is not None and request.max_tokens > cap:
            permitted.request = replace(request, max_tokens=cap)
        return permitted

    async def _decide(self, query: PolicyQuery, facts: ClientRequestFacts) -> Decision:
        """Allows what both the tenant's rules and the policy allow, with the lower of their caps."""
        own = self._rules.of(query.principal.tenant).judge(facts)
        if not own.is_allowed:  # the operator's rules come before any engine
            return own
        decision = await self._policy.decide(query)
        caps = [cap for cap in (own.max_tokens, decision.max_tokens) if cap is not None]
        return replace(decision, rules=(*own.rules, *decision.rules), max_tokens=min(caps, default=None))

    async def limit(self, call: RequestingCall, count: int) -> None:
        """Raises QuotaExceeded or LimiterUnavailable. One counter for each tenant and operation."""
        key = f"questions:{call.principal.tenant}:{call.operation.key}"
        limit = self._rules.of(call.principal.tenant).rate_limit
        raise_if_limited(await self._limiter.take([LimitCharge("questions to the client", key, limit, count)]))

    def reserve_event(self) -> int:
        """Monotonic nanoseconds at which the request is sent. Raises MeteringUnavailable if its event would find no
        room: after the client has answered it is too late to refuse."""
        self._recorder.reserve()
        return self._recorder.clock.monotonic_ns()

    async def record(
        self,
        call: RequestingCall,
        permitted: PermittedRequest,
        status: Status,
        *,
        started_ns: int | None = None,
        error: StoaError | None = None,
    ) -> MeteringUnavailable | None:
        """Record the event of a request that is sent now, or was sent at `started_ns`; returns the reason if it is not
        recorded."""
        latency_ms = 0 if started_ns is None else (self._recorder.clock.monotonic_ns() - started_ns) // 1_000_000
        tariff = self._pricing.tariff(call.operation, call.principal.tenant, self._recorder.clock.now())
        event = self._event(call, permitted, status, latency_ms, error, tariff.per_question)
        try:
            lost = await self._recorder.keep(event, is_reserved=started_ns is not None)
            if lost is None:
                call.cost += event.cost_units
            return lost
        finally:  # also when the caller goes away while the event is being written
            self._tell(call, permitted, event, error)

    def _event(
        self,
        call: RequestingCall,
        permitted: PermittedRequest,
        status: Status,
        latency_ms: int,
        error: StoaError | None,
        cost: MicroUnits,
    ) -> MeteringEvent:
        return self._recorder.event(
            call.invocation,
            event_id=call.next_event_id(),
            request_id=call.request_id,
            timestamp=self._recorder.clock.now(),
            principal=call.principal,
            operation=call.operation,
            decision=permitted.decision,
            error=error,
            status=status,
            latency_ms=latency_ms,
            cost=cost,
            client_request=permitted.facts.kind,
        )

    def _tell(
        self, call: RequestingCall, permitted: PermittedRequest, event: MeteringEvent, error: StoaError | None
    ) -> None:
        outcome = Outcome(
            status=event.status,
            result=None,
            error=error,
            decision=permitted.decision,
            principal=call.principal,
            request_id=call.request_id,
            latency_ms=event.latency_ms,
            cost=event.cost_units,
            event=event,
            client_request=permitted.facts.kind,
        )
        self._recorder.tell(call.invocation, outcome)
