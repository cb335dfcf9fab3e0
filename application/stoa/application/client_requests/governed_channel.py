"""Questions to clients are governed as calls are, whatever the era and the door.

1  policy     each question is a PolicyQuery of its own; a decision may also lower the tokens that sampling asks for
2  limits     questions of one call, then of one tool and tenant by the minute
3  metering   one event for each question that went out, whatever came of it; none can be kept: none goes out
4  the client

Where the client is waited for, all four happen while the function asks. Where a question ends the round, the limit by
the minute and the metering come when the round goes out: until then the function may think better of it, and what was
answered already is not asked again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stoa.application.admission.authenticate_caller import raise_if_limited
from stoa.application.client_requests.passing_channel import PassingChannel
from stoa.application.client_requests.patient_channel import PatientChannel
from stoa.application.concurrency.deadline import Deadline
from stoa.application.concurrency.gather import gather_or_cancel
from stoa.application.metering.pricing import Pricing
from stoa.application.metering.recorder import Recorder
from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.rate_limit import LimitCharge
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientRequest,
    LogLevel,
    SamplingRequest,
    request_facts,
)
from stoa.domain.client_requests.rules import ClientRequestRules, ClientRequests
from stoa.domain.errors import (
    BackendTimedOut,
    ClientCapabilityMissing,
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
    """The call whose function asks. Not frozen, which costs: one is made for every call that has a channel."""

    invocation: Invocation
    principal: Principal
    operation: Operation
    arguments: JsonObject
    request_id: str
    event_id: str
    asked: int = 0
    """Events of its questions so far."""
    cost: int = 0
    """Micro-units that these have cost."""

    def next_event_id(self) -> str:
        """Of its next question: the call's own, counted on."""
        self.asked += 1
        return f"{self.event_id}.{self.asked}"


@dataclass(slots=True)
class _Permitted:
    request: ClientRequest
    """As it may be sent."""
    question: ClientRequestFacts
    decision: Decision


class Questions:
    """What governs the questions of all calls."""

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

    def rules_of(self, call: RequestingCall) -> ClientRequestRules:
        return self._rules.of(call.principal.tenant)

    def most(self, tenant: TenantId | None) -> int:
        """Questions that one call may ask."""
        return self._rules.of(tenant).per_call

    def now_ns(self) -> int:
        return self._recorder.now_ns()

    async def permit(self, call: RequestingCall, request: ClientRequest) -> _Permitted:
        """Raises ClientRequestRefused, which observers hear of, or PolicyUnavailable."""
        question = request_facts(request)
        query = PolicyQuery(call.principal, call.operation, call.arguments, call.invocation.door, question)
        decision = await self._decide(query, question)
        permitted = _Permitted(request, question, decision)
        if not decision.is_allowed:
            refused = ClientRequestRefused(decision.reason, decision)
            self._tell(
                call, permitted, self._event(call, permitted, Status.UNAUTHORIZED, 0, refused, MicroUnits(0)), refused
            )
            raise refused
        cap = decision.max_tokens
        if isinstance(request, SamplingRequest) and cap is not None and request.max_tokens > cap:
            permitted.request = replace(request, max_tokens=cap)
        return permitted

    async def _decide(self, query: PolicyQuery, question: ClientRequestFacts) -> Decision:
        """Allowed is what both the tenant's rules and the policy allow, with the lower of their caps."""
        own = self._rules.of(query.principal.tenant).judge(question)
        if not own.is_allowed:
            return own
        decision = await self._policy.decide(query)
        caps = [cap for cap in (own.max_tokens, decision.max_tokens) if cap is not None]
        return replace(decision, rules=(*own.rules, *decision.rules), max_tokens=min(caps, default=None))

    async def limit(self, call: RequestingCall, count: int) -> None:
        """Raises QuotaExceeded or LimiterUnavailable. One counter for each tenant, as with a tool's own limit."""
        key = f"questions:{call.principal.tenant}:{call.operation.key}"
        limit = self.rules_of(call).rate_limit
        raise_if_limited(await self._limiter.take([LimitCharge("questions to the client", key, limit, count)]))

    def admit(self) -> None:
        """Raises MeteringUnavailable."""
        self._recorder.admit()

    async def record(
        self,
        call: RequestingCall,
        asked: _Permitted,
        status: Status,
        *,
        started_ns: int | None = None,
        error: StoaError | None = None,
    ) -> MeteringUnavailable | None:
        """Keep the event of a question that goes out now, or went out at `started_ns`; returns why it is not kept."""
        latency_ms = 0 if started_ns is None else (self._recorder.now_ns() - started_ns) // 1_000_000
        tariff = self._pricing.tariff(call.operation, call.principal.tenant, self._recorder.now())
        event = self._event(call, asked, status, latency_ms, error, tariff.per_question)
        try:
            lost = await self._recorder.keep(event, is_admitted=started_ns is not None)
            if lost is None:
                call.cost += event.cost_units
            return lost
        finally:  # also when the caller goes away while the event is being written
            self._tell(call, asked, event, error)

    def _event(
        self,
        call: RequestingCall,
        asked: _Permitted,
        status: Status,
        latency_ms: int,
        error: StoaError | None,
        cost: MicroUnits,
    ) -> MeteringEvent:
        return self._recorder.event(
            call.invocation,
            event_id=call.next_event_id(),
            request_id=call.request_id,
            timestamp=self._recorder.now(),
            principal=call.principal,
            operation=call.operation,
            decision=asked.decision,
            error=error,
            status=status,
            latency_ms=latency_ms,
            cost=cost,
            asked=asked.question.kind,
        )

    def _tell(self, call: RequestingCall, asked: _Permitted, event: MeteringEvent, error: StoaError | None) -> None:
        outcome = Outcome(
            status=event.status,
            result=None,
            error=error,
            decision=asked.decision,
            principal=call.principal,
            request_id=call.request_id,
            latency_ms=event.latency_ms,
            cost=event.cost_units,
            event=event,
            question=asked.question.kind,
        )
        self._recorder.tell(call.invocation, outcome)


class GovernedChannel(PassingChannel):
    """The channel of one call, with its questions governed. Raises ClientRequestRefused, QuotaExceeded,
    PolicyUnavailable,
    LimiterUnavailable and MeteringUnavailable besides what `channel` does; then nothing was sent. `deadline` is the
    call's: it stands still while the client is waited for. `tells_words`: False where the policy hides parts of the
    answer, which free text could tell: log messages are then dropped, and progress is numbers alone."""

    def __init__(
        self,
        channel: ClientChannel,
        questions: Questions,
        call: RequestingCall,
        deadline: Deadline | None = None,
        *,
        tells_words: bool = True,
    ) -> None:
        super().__init__(channel)
        self._tells_words = tells_words
        self._questions = questions
        self._call = call
        self._deadline = deadline
        self._asked = 0
        self._permitted: dict[str, _Permitted] = {}

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        await self._channel.progress(progress, total, message if self._tells_words else None)

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        if self._tells_words:
            await self._channel.log(level, data, logger)

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        self._count(len(requests))
        if self._deadline is not None:  # only now: most calls have a channel and ask nothing
            self._channel, self._deadline = PatientChannel(self._channel, self._deadline), None
        if self.asks_by_rounds:
            permitted = await self._permit(requests)
            self._permitted |= permitted
            return await self._channel.ask({key: one.request for key, one in permitted.items()})
        self._require(requests)
        permitted = await self._permit(requests)
        await self._questions.limit(self._call, len(permitted))
        return await gather_or_cancel({key: self._send(key, one) for key, one in permitted.items()})

    async def depart(self, requests: Mapping[str, ClientRequest]) -> dict[str, ClientRequest]:
        """The questions that a round ends with, as they go out; they are limited and metered. Raises as `ask` does. A
        back end may have ended the round itself: then they pass the policy now."""
        if not self.asks_by_rounds:
            raise ClientCapabilityMissing(("multi round-trip requests",))
        self._require(requests)
        going: dict[str, _Permitted] = {}
        for key, request in requests.items():
            known = self._permitted.get(key)
            if known is None or known.request is not request:
                self._count(1)
                known = await self._questions.permit(self._call, request)
            going[key] = known
        await self._questions.limit(self._call, len(going))
        for one in going.values():
            lost = await self._questions.record(self._call, one, Status.INPUT_REQUIRED)
            if lost is not None:
                raise lost
        return {key: one.request for key, one in going.items()}

    def _count(self, number: int) -> None:
        self._asked += number
        most = self._questions.rules_of(self._call).per_call
        if self._asked > most:
            raise ClientRequestRefused(f"one call may ask {most} questions")

    def _require(self, requests: Mapping[str, ClientRequest]) -> None:
        missing = self.capabilities.missing(requests)
        if missing:
            raise ClientCapabilityMissing(missing)

    async def _permit(self, requests: Mapping[str, ClientRequest]) -> dict[str, _Permitted]:
        """All of them, or none."""
        return {key: await self._questions.permit(self._call, request) for key, request in requests.items()}

    async def _send(self, key: str, asked: _Permitted) -> ClientAnswer:
        questions = self._questions
        questions.admit()
        started_ns = questions.now_ns()
        try:
            answer = (await self._channel.ask({key: asked.request}))[key]
        except asyncio.CancelledError:
            await questions.record(self._call, asked, Status.CANCELLED, started_ns=started_ns)
            raise
        except StoaError as failure:
            status = Status.TIMEOUT if isinstance(failure, BackendTimedOut) else Status.ERROR
            await questions.record(self._call, asked, status, started_ns=started_ns, error=failure)
            raise
        except Exception:  # it went out all the same, and every admitted question is recorded
            await questions.record(self._call, asked, Status.ERROR, started_ns=started_ns)
            raise
        lost = await questions.record(self._call, asked, Status.SUCCESS, started_ns=started_ns)
        if lost is not None:
            raise lost
        return answer
