"""The pipeline: the one way to call a back end, the same for every door.

1  authenticate          nothing is looked up for a stranger
2  caller limit          a caller that has certainly used up its limit is refused here: protects the later stages
3  find                  the tool, resource or prompt in the caller's view: unknown and invisible are the same answer
4  authorise             the policy sees the arguments, normalised, as the back end will get them; it yields a Permit:
                         no permit, no call. Its obligations are met where they belong: a limit at 5, the user's
                         agreement at 7, redaction at 8
5  charge                the call is counted against the limits of its caller, tenant, consumer and operation in one
                         step, after authorisation: denied calls use up their caller's allowance, not the operation's
6  reserve               the arguments are validated, after authorisation, so that strangers learn no schema; then the
                         call takes a place among the running ones, the most that it may cost from its budgets, and
                         room for its metering event
7  call                  within the operation's deadline, with the operation's credentials, never the caller's; to act
                         in the caller's name, the back end gets an UpstreamAccess and no token of the caller; client
                         requests are governed too (`application.client_requests`)
8  shape the answer      as the compiled operation does for its kind
9  finish                one metering event, one metric, one audit line, for every outcome, cancelled ones too; refusals
                         of strangers, and of callers that had too many, are counted together (`refusal_tally`)

How far a call came is a value (`stages`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from stoa.application.admission.callers import Callers, operation_charges, raise_if_limited
from stoa.application.answers.long_answers import LongAnswers
from stoa.application.calls.failures import answered_failure
from stoa.application.calls.running_calls import RunningCall, RunningCalls
from stoa.application.calls.stages import (
    Answered,
    Authenticated,
    Authorised,
    Charged,
    Denied,
    Facts,
    Found,
    Reserved,
    Sent,
    facts_of,
)
from stoa.application.calls.traced_call import call_traced
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.client_requests.governed import CallClientRequests, govern
from stoa.application.client_requests.governor import ClientRequestGovernor, RequestingCall
from stoa.application.client_requests.withheld_text import WithheldText
from stoa.application.concurrency.deadline import Deadline
from stoa.application.metering.budgets import Budgets, Reservation
from stoa.application.metering.pricing import Pricing
from stoa.application.metering.recorder import Recorder, named_arguments
from stoa.application.metering.spans import traced
from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.clock import IdFactory
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.tool_backend import CallContext
from stoa.domain.access.fair_share import Bound, Caps, FairSlots, NoRoom
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import Caller, Invocation, Outcome, token_of
from stoa.domain.client_requests.client_request import (
    NO_CAPABILITIES,
    ElicitationAnswer,
    ElicitationRequest,
    InputRequired,
)
from stoa.domain.client_requests.rules import DEFAULT_CLIENT_REQUESTS, ClientRequests
from stoa.domain.errors import (
    BackendTimedOut,
    ClientCapabilityMissing,
    ClientRequestDeclined,
    InvalidArguments,
    NotPermitted,
    QuotaExceeded,
    ShuttingDown,
    StoaError,
    TaskInterrupted,
    Violation,
    not_found,
)
from stoa.domain.metering.event import CHARGED, MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Permit, PolicyQuery
from stoa.domain.results.result import SIZE_LIMIT, RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject

_log = logging.getLogger(__name__)

Unbilled = Callable[[], MeteringEvent]
"""Makes the event of a call that ends now because its process dies. The process that finds the abandoned task records
it (`application.tasks`)."""
BeforeCall = Callable[[Operation, Principal, Unbilled], Awaitable[None]]
"""Runs after all checks, right before stage 7; a StoaError that it raises refuses the call."""

_CONFIRMATION = "policy-confirmation"
_AGREEMENT: JsonObject = {"type": "object", "properties": {"agree": {"type": "boolean"}}, "required": ["agree"]}

RUNNING = Caps(per_caller=256, per_tenant=2048, total=8192)
"""Calls in progress in this process, at back ends or in functions, including those whose client has gone."""
_FREE = MicroUnits(0)
_WHOSE = {Bound.CALLER: "the caller", Bound.TENANT: "the tenant", Bound.ALL: "all tenants"}


class InvokeOperation:
    """Runs one invocation through all stages. Refusals and failures are returned as an Outcome, not raised. Only a
    cancellation is raised, after the call has been metered; a cancellation by `running.cut` becomes an Outcome too."""

    def __init__(
        self,
        *,
        callers: Callers,
        registry: OperationRegistry,
        policy: PolicyEngine,
        limiter: RateLimiter,
        recorder: Recorder,
        ids: IdFactory,
        pricing: Pricing,
        long_answers: LongAnswers,
        budgets: Budgets | None = None,
        client_requests: ClientRequests = DEFAULT_CLIENT_REQUESTS,
        running: Caps = RUNNING,
    ) -> None:
        self._places = FairSlots(running)
        self.running = RunningCalls()
        self._callers = callers
        self._registry = registry
        self._policy = policy
        self._limiter = limiter
        self._recorder = recorder
        self._clock = recorder.clock
        self._ids = ids
        self._pricing = pricing
        self._budgets = budgets
        self._long_answers = long_answers
        self._governor = ClientRequestGovernor(
            policy=policy, rules=client_requests, limiter=limiter, recorder=recorder, pricing=pricing
        )

    async def execute(
        self, invocation: Invocation, channel: ClientChannel | None = None, before_call: BeforeCall | None = None
    ) -> Outcome:
        """`channel`: the way back to the client, where the door has one. `before_call` runs after all checks, right
        before the back end is called."""
        tracer = self._recorder.tracer
        span = None if tracer is None else traced(tracer, invocation)
        call = RunningCall(invocation, self._ids.new_id(), self._clock.monotonic_ns(), span, asyncio.current_task())
        self.running.by_event[call.event_id] = call  # before the first await, so that a shutdown misses no call
        try:
            result = await self._run(call, channel, before_call)
            answered = Answered(call.stage, Status.ERROR if result.is_error else Status.SUCCESS, result)
        except asyncio.CancelledError:
            if not call.take_back_cut():
                await self._finish(call, Answered(call.stage, Status.CANCELLED))
                raise
            answered = Answered(call.stage, Status.CANCELLED, error=ShuttingDown())
        except Exception as failure:  # noqa: BLE001  # last line of defence: a defect must neither leak nor go unmetered
            answered = answered_failure(call, failure)
        return await self._finish(call, answered)

    async def _run(
        self, call: RunningCall, channel: ClientChannel | None, before_call: BeforeCall | None
    ) -> ToolResult:
        """Stages 1 to 8. `call.stage` moves on as soon as one is reached, for a cancellation may come at any await."""
        invocation = call.invocation
        credential = invocation.credential
        if isinstance(credential, Caller) and self._callers.is_current(credential.principal):
            caller = credential.principal  # as from nearly every door
        else:
            caller = await self._callers.authenticate(credential)
        call.stage = authenticated = Authenticated(caller)
        charges = self._callers.charges(caller, invocation.consumer)
        exhausted = self._limiter.refusal(charges)  # nothing is counted yet: that happens once, in one step
        if exhausted is not None:
            raise_if_limited(exhausted)
        try:
            call.stage = authorised = await self._authorise(call, authenticated)
        except Exception as refusal:
            call.stage = denied = _denied(call, authenticated, refusal)
            verdict = await self._limiter.take(charges)
            call.stage = replace(denied, verdict=verdict)
            raise_if_limited(verdict)  # a flood of denied calls learns no more than one of others
            raise
        decision, principal = authorised.decision, authorised.found.principal
        operation = authorised.found.compiled.operation
        if operation.rate_limit is not None or decision.obligations.limit is not None:
            charges += operation_charges(operation, principal, decision)
        verdict = await self._limiter.take(charges)
        call.stage = charged = Charged(authorised, verdict)
        if not verdict.is_allowed:  # asked here too: most calls are allowed, and save a function call
            raise_if_limited(verdict)
        call.stage = reserved = await self._reserve(call, charged, channel)
        if before_call is not None:
            # As if it had been sent: should this process die, nothing will tell whether it was.
            unbilled, facts = Answered(Sent(reserved), Status.ERROR, error=TaskInterrupted()), facts_of(reserved)
            await before_call(operation, principal, lambda: self._event(call, unbilled, facts))
        return await self._call(call, reserved, channel)

    async def _authorise(self, call: RunningCall, authenticated: Authenticated) -> Authorised:
        """Stages 3 and 4. Raises OperationNotFound, NotPermitted or PolicyUnavailable."""
        invocation, caller = call.invocation, authenticated.caller
        tenant = invocation.tenant
        principal = caller if tenant is None else caller.acting_for(tenant)
        if principal is None:
            raise not_found(invocation.kind, invocation.name)
        compiled = self._registry.find(principal.tenant, invocation.name, invocation.kind)
        if compiled is None:
            raise not_found(invocation.kind, invocation.name)
        call.stage = found = Found(authenticated, principal, compiled)
        operation = compiled.operation
        if not compiled.arguments.is_ready:
            await self._registry.make_ready(compiled)
        given = compiled.arguments_of(invocation)
        # What is no object is refused after the policy: whether a tool exists must not show in the error.
        # Coerced before the decision, and never again: the back end gets the object that the policy saw.
        arguments, coerced = compiled.arguments.normalise_noting({} if given is None else given)
        changes = compiled.changes
        seen = arguments if changes is None else changes.shown(arguments, principal)
        decision = await self._policy.decide(PolicyQuery(principal, operation, seen, invocation.door))
        permit = Permit.grant(decision, operation.key)
        if permit is None:
            raise NotPermitted(decision, is_missing_right=not principal.holds(operation.access))
        return Authorised(found, None if given is None else arguments, coerced, decision, permit)

    async def _reserve(self, call: RunningCall, charged: Charged, channel: ClientChannel | None) -> Reserved:
        """Validate the arguments, then take what the call needs. If one part cannot be had, those already taken are
        given back."""
        authorised, invocation = charged.authorised, call.invocation
        principal, compiled, arguments = authorised.found.principal, authorised.found.compiled, authorised.arguments
        operation, tenant = compiled.operation, principal.tenant
        if arguments is None:  # doors pass on what came
            raise InvalidArguments([Violation("", "a JSON object")])
        tolerated = compiled.arguments.check(arguments)
        if tolerated:
            call.stage = charged = replace(charged, tolerated=tolerated)
        if self.running.is_over:  # the shutdown has cut the calls that it found, and this one came later
            raise ShuttingDown
        place = (tenant, principal.identity_key)
        try:
            self._places.take(place)
        except NoRoom as full:
            raise QuotaExceeded(f"running calls of {_WHOSE[full.bound]}", 1.0) from full
        reservation: Reservation | None = None
        try:
            bind = compiled.bind_upstream
            upstream = None if bind is None else bind(principal, token_of(invocation.credential))
            if operation.metered_arguments:
                call.stage = charged = replace(charged, metered=named_arguments(operation, arguments))
            if self._budgets is not None and self._budgets.apply_to(tenant):
                ceiling = self._ceiling(operation, tenant)
                reservation = await self._budgets.reserve(tenant, invocation.consumer, ceiling)
            self._recorder.reserve()  # last: room for an event cannot be given back, only used
        except BaseException:
            self._places.release(place)
            self._settle(reservation, _FREE)
            raise
        requesting = None
        if channel is not None:
            requesting = RequestingCall(invocation, principal, operation, arguments, call.request_id, call.event_id)
        return Reserved(charged, arguments, place, reservation, upstream, requesting)

    async def _call(self, call: RunningCall, reserved: Reserved, channel: ClientChannel | None) -> ToolResult:
        authorised, invocation = reserved.charged.authorised, call.invocation
        found, obligations = authorised.found, authorised.decision.obligations
        compiled = found.compiled
        timeout_seconds = compiled.operation.timeout_seconds
        client_requests: CallClientRequests | None = None
        try:
            with Deadline(timeout_seconds, call.task) as deadline:
                if channel is not None and reserved.requesting is not None:
                    client_requests = govern(channel, self._governor, reserved.requesting, deadline)
                    if obligations.redact:  # messages of the back end could tell what the policy hides
                        channel = WithheldText(channel)
                if obligations.confirm is not None:
                    await _confirm(obligations.confirm, client_requests)
                call.stage = Sent(reserved)  # after the confirmation: a call that the user declined is free
                context = CallContext(
                    authorised.permit,
                    found.principal,
                    call.request_id,
                    channel,
                    invocation.door,
                    invocation.consumer,
                    reserved.upstream,
                    client_requests,
                )
                if call.span is None and invocation.trace is None:
                    answer = await compiled.call(reserved.arguments, context)
                else:
                    answer = await call_traced(compiled, reserved.arguments, context, call)
        except TimeoutError as late:
            raise BackendTimedOut(f"No answer within {timeout_seconds:g} s") from late
        except InputRequired as pause:
            if client_requests is None:  # raised by the tool itself, where no round can follow
                raise ClientCapabilityMissing(NO_CAPABILITIES.missing(pause.requests)) from pause
            raise InputRequired(await client_requests.end_round(pause.requests)) from pause
        arguments, name = reserved.arguments, invocation.name
        if not compiled.projects and (not isinstance(answer, RawAnswer) or len(answer.body) <= compiled.quick_bytes):
            return compiled.shape_answer(answer, name, arguments, obligations.redact)
        shape = partial(compiled.shape_answer, answer, name, arguments, obligations.redact)
        return await self._long_answers.shaped(shape, found.principal)

    async def _finish(self, call: RunningCall, answered: Answered) -> Outcome:
        """The single finaliser: gives back what the call holds, records it, and tells the observers."""
        self.running.by_event.pop(call.event_id, None)
        stage, facts = answered.stage, facts_of(answered.stage)
        reserved = stage.reserved if isinstance(stage, Sent) else stage if isinstance(stage, Reserved) else None
        if reserved is not None:
            self._places.release(reserved.place)
        event = self._event(call, answered, facts)
        cost, is_told = event.cost_units, True
        try:
            if reserved is None:
                is_stranger = facts.principal is None
                is_told = await self._recorder.keep_refusal(
                    event, call.invocation, answered.error, is_stranger=is_stranger
                )
            elif (lost := await self._recorder.keep(event)) is not None:
                # An answer whose event is not kept would be a call that never happened: it is withheld, and free.
                answered, cost = Answered(stage, Status.ERROR, error=lost), _FREE
        finally:  # also when the caller goes away while the event is being written
            if reserved is not None and reserved.reservation is not None:
                self._settle(reserved.reservation, MicroUnits(cost + reserved.requested_cost))
            outcome = Outcome(  # by position: names cost more, and every call comes here
                answered.status,
                answered.result,
                answered.error,
                facts.decision,
                facts.principal,
                call.request_id,
                event.latency_ms,
                cost,
                event,
                answered.client_requests,
                None,
                facts.verdict,
                facts.coerced,
                facts.tolerated,
            )
            if call.span is not None:
                call.span.end(outcome)
            if is_told:
                self._recorder.tell(call.invocation, outcome)
        return outcome

    async def refuse(self, invocation: Invocation, refusal: StoaError) -> Outcome:
        """The outcome of a call whose caller the door could not authenticate, metered like any refusal. The door has
        verified the token already, so no stage runs."""
        call = RunningCall(invocation, self._ids.new_id(), self._clock.monotonic_ns(), None, None)
        return await self._finish(call, answered_failure(call, refusal))

    async def bill(self, event: MeteringEvent) -> None:
        """Record the event of a call whose process died. Raises MeteringUnavailable."""
        lost = await self._recorder.keep(event, is_reserved=False)  # the reserved room died with that process
        if lost is not None:
            raise lost

    def _event(self, call: RunningCall, answered: Answered, facts: Facts) -> MeteringEvent:
        """The event of a call that ends now."""
        latency_ms = (self._clock.monotonic_ns() - call.started_ns) // 1_000_000
        now = self._clock.now()
        return self._recorder.event(
            call.invocation,
            event_id=call.event_id,
            request_id=call.request_id,
            timestamp=now,
            principal=facts.principal,
            operation=facts.operation,
            decision=facts.decision,
            error=answered.error,
            status=answered.status,
            latency_ms=latency_ms,
            cost=self._price(answered, facts, latency_ms, now),
            metadata=facts.metadata,
        )

    def _price(self, answered: Answered, facts: Facts, latency_ms: int, now: datetime) -> MicroUnits:
        """The price of the call; 0 as long as it was not sent to its back end."""
        stage, principal, operation = answered.stage, facts.principal, facts.operation
        if not isinstance(stage, Sent) or principal is None or operation is None or answered.status not in CHARGED:
            return _FREE
        tariff = self._pricing.tariff(operation, principal.tenant, now)
        size = answered.result.size if tariff.per_byte and answered.result is not None else 0
        cost = tariff.quote(latency_ms=latency_ms, bytes_out=size)
        reserved = stage.reserved
        if reserved.reservation is None:
            return cost
        # The wait for an answer is no part of the time that was reserved for: events say no more than was taken.
        return min(cost, MicroUnits(reserved.reservation.amount - reserved.requested_cost))

    def _ceiling(self, operation: Operation, tenant: TenantId | None) -> MicroUnits:
        """The most that a call may cost, including all the client requests that it may make."""
        tariff = self._pricing.tariff(operation, tenant, self._clock.now())
        requests = self._governor.per_call(tenant) * tariff.per_question
        ceiling = tariff.ceiling(timeout_seconds=operation.timeout_seconds, max_bytes_out=SIZE_LIMIT)
        return MicroUnits(ceiling + requests)

    def _settle(self, reservation: Reservation | None, cost: MicroUnits) -> None:
        if self._budgets is not None and reservation is not None:
            self._budgets.settle(reservation, cost)


def _denied(call: RunningCall, authenticated: Authenticated, refusal: Exception) -> Denied:
    decision = refusal.decision if isinstance(refusal, NotPermitted) else None
    if isinstance(call.stage, Found):
        return Denied(call.stage, call.stage.principal, decision)
    caller = authenticated.caller
    return Denied(authenticated, caller.acting_for(call.invocation.tenant) or caller, decision)


async def _confirm(sentence: str, client_requests: CallClientRequests | None) -> None:
    """Have the user agree, by a governed client request like any other. Raises ClientCapabilityMissing if the client
    takes no requests, and ClientRequestDeclined."""
    request = ElicitationRequest(sentence, _AGREEMENT, is_confirmation=True)
    if client_requests is None:
        raise ClientCapabilityMissing(NO_CAPABILITIES.missing({_CONFIRMATION: request}))
    answer = (await client_requests.send({_CONFIRMATION: request}))[_CONFIRMATION]
    if not (
        isinstance(answer, ElicitationAnswer) and answer.action == "accept" and answer.content.get("agree") is True
    ):
        raise ClientRequestDeclined(_CONFIRMATION)
