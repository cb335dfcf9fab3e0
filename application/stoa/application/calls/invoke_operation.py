"""The one way to call a back end, whatever door the call came through.

1  authenticate          nothing is looked up for a stranger
2  caller limit          whoever is known to have nothing left goes no further: protects what follows
3  find                  the tool, resource or prompt in the caller's view: unknown and invisible are the same answer
4  authorise             the policy sees the arguments, normalised, as the back end will get them; it yields a Permit:
                         no permit, no call. Its obligations are seen to where they belong: a limit at 5, the user's
                         agreement at 7, redaction at 8
5  limits                the call is counted against those of its caller, tenant, consumer and tool in one step, after
                         authorisation: denied calls use up their caller's allowance, not the tool's
6  validate arguments    after authorisation: strangers learn no schema; then the most that the call may cost is taken
                         from the budgets that it counts against
7  call                  within the tool's deadline, with the tool's credentials, never the caller's; acting in the
                         caller's name, it gets what yields tokens for its back end, and nothing else; its client
                         requests are governed too (`application.client_requests`)
8  shape the result
9  finish                one metering event, one metric, one audit line, for every outcome, cancelled ones too; refusals
                         of strangers, and of who has had too many, are counted together (`refusal_tally.py`)
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from stoa.application.admission.authenticate_caller import AuthenticateCaller, limits_of, raise_if_limited
from stoa.application.backends.upstream_tokens import TokenSupply
from stoa.application.calls.resource_contents import resource_contents
from stoa.application.calls.running_calls import RunningCalls
from stoa.application.catalogue.operation_registry import CompiledOperation, OperationRegistry
from stoa.application.client_requests.governed import CallClientRequests, govern
from stoa.application.client_requests.governor import ClientRequestGovernor, RequestingCall
from stoa.application.client_requests.withheld_text import WithheldText
from stoa.application.concurrency.deadline import Deadline
from stoa.application.metering.budgets import Budgets, Reservation
from stoa.application.metering.pricing import Pricing
from stoa.application.metering.recorder import Recorder, named_arguments, noted_places
from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.clock import IdFactory
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.tool_backend import CallContext
from stoa.application.ports.upstream_access import UpstreamAccess
from stoa.domain.access.fair_share import Bound, Caps, FairSlots, NoRoom, Place
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.rate_limit import LimitVerdict
from stoa.domain.calls.invocation import BearerToken, Invocation, Outcome
from stoa.domain.client_requests.client_request import (
    NO_CAPABILITIES,
    ClientRequest,
    ElicitationAnswer,
    ElicitationRequest,
    InputRequired,
)
from stoa.domain.client_requests.rules import DEFAULT_CLIENT_REQUESTS, ClientRequests
from stoa.domain.errors import (
    BackendProtocolError,
    BackendTimedOut,
    BackendUnavailable,
    ClientCapabilityMissing,
    ClientRequestDeclined,
    ContentUnavailable,
    InvalidArguments,
    InvalidState,
    NotAuthenticated,
    NotPermitted,
    OperationNotFound,
    QuotaExceeded,
    ShuttingDown,
    StoaError,
    TaskChanged,
    TaskInterrupted,
    UpstreamAccessDenied,
    Violation,
    not_found,
)
from stoa.domain.metering.event import CHARGED, MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.resource import Resource
from stoa.domain.policy.decision import NO_OBLIGATIONS, Decision, Obligations, Permit, PolicyQuery
from stoa.domain.results.redaction import WITHHELD, redact
from stoa.domain.results.result import SIZE_LIMIT, RawAnswer, ToolResult, shape
from stoa.domain.schema.json_value import JsonObject, as_object, is_object

_log = logging.getLogger(__name__)

Unbilled = Callable[[], MeteringEvent]
"""The event of a call whose process dies now; the process that finds its task records it (`application.tasks`)."""
Admitted = Callable[[Operation, Principal, Unbilled], Awaitable[None]]
"""Told right before stage 7 what is called, and as whom; a StoaError from it refuses the call like any stage."""

_CONFIRMATION = "policy-confirmation"
_AGREEMENT: JsonObject = {"type": "object", "properties": {"agree": {"type": "boolean"}}, "required": ["agree"]}

RUNNING = Caps(per_caller=256, per_tenant=2048, total=8192)
"""Calls that are with their back ends or functions at once, in this process: also those whose client has gone."""
_WHOSE = {Bound.CALLER: "the caller", Bound.TENANT: "the tenant", Bound.ALL: "all tenants"}

_REFUSAL_STATUS: tuple[tuple[type[StoaError], Status], ...] = (
    (NotAuthenticated, Status.UNAUTHORIZED),
    (NotPermitted, Status.UNAUTHORIZED),
    (UpstreamAccessDenied, Status.UNAUTHORIZED),
    (OperationNotFound, Status.INVALID),
    (QuotaExceeded, Status.RATE_LIMITED),
    (InvalidArguments, Status.INVALID),
    (InvalidState, Status.INVALID),
    (TaskChanged, Status.INVALID),
    (ClientCapabilityMissing, Status.INVALID),
    (ClientRequestDeclined, Status.ERROR),
)


class _Call:
    """What is known of a call while it runs; the finaliser reads it, however far the call came."""

    __slots__ = (
        "client_requests",
        "coerced",
        "decision",
        "error",
        "has_room",
        "is_sent",
        "metadata",
        "place",
        "principal",
        "registered",
        "requesting",
        "reservation",
        "result",
        "started_ns",
        "status",
        "verdict",
    )

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.principal: Principal | None = None
        self.registered: CompiledOperation | None = None
        self.decision: Decision | None = None
        self.has_room = False
        self.is_sent = False
        self.status = Status.ERROR
        self.result: ToolResult | None = None
        self.error: StoaError | None = None
        self.client_requests: Mapping[str, ClientRequest] | None = None
        self.verdict: LimitVerdict | None = None
        self.reservation: Reservation | None = None
        self.place: Place | None = None
        """Whom it counts for among the running calls."""
        self.requesting: RequestingCall | None = None
        self.coerced: tuple[str, ...] = ()
        """Places of arguments that were understood otherwise than written."""
        self.metadata: Mapping[str, str] = {}
        """What its event says besides."""

    @property
    def client_requests_cost(self) -> int:
        """Micro-units of the events of its client requests."""
        return 0 if self.requesting is None else self.requesting.cost


class InvokeOperation:
    """Runs one invocation through all stages. Refusals and failures come back as an Outcome, they are not raised;
    only cancellation is, after the call has been metered; that of `running.cut` is an Outcome too."""

    def __init__(
        self,
        *,
        admission: AuthenticateCaller,
        registry: OperationRegistry,
        policy: PolicyEngine,
        limiter: RateLimiter,
        recorder: Recorder,
        ids: IdFactory,
        pricing: Pricing,
        budgets: Budgets | None = None,
        client_requests: ClientRequests = DEFAULT_CLIENT_REQUESTS,
        running: Caps = RUNNING,
    ) -> None:
        self._running = FairSlots(running)
        self.running = RunningCalls()
        self._admission = admission
        self._registry = registry
        self._policy = policy
        self._limiter = limiter
        self._recorder = recorder
        self._ids = ids
        self._pricing = pricing
        self._budgets = budgets
        self._governor = ClientRequestGovernor(
            policy=policy, rules=client_requests, limiter=limiter, recorder=recorder, pricing=pricing
        )

    async def execute(
        self, invocation: Invocation, channel: ClientChannel | None = None, admitted: Admitted | None = None
    ) -> Outcome:
        """`channel`: the way back to the client, where the door has one. `admitted` is told when nothing stands in the
        call's way any more."""
        call = _Call(self._recorder.now_ns())
        event_id = self._ids.new_id()
        self.running.tasks[event_id] = asyncio.current_task()
        try:
            call.result = await self._run(invocation, call, event_id, channel, admitted)
            call.status = Status.ERROR if call.result.is_error else Status.SUCCESS
        except asyncio.CancelledError:
            call.status = Status.CANCELLED
            if not self.running.was_cut(event_id):
                await self._finish(invocation, call, event_id)
                raise
            call.error = ShuttingDown()
        except (BackendUnavailable, BackendTimedOut, BackendProtocolError) as failure:
            call.status = Status.TIMEOUT if isinstance(failure, BackendTimedOut) else Status.ERROR
            call.result = ToolResult.error(f"{failure.message} [{failure.code}]")
        except InputRequired as pause:
            call.client_requests, call.status = pause.requests, Status.INPUT_REQUIRED
        except StoaError as refusal:
            call.error = refusal
            call.status = next((status for kind, status in _REFUSAL_STATUS if isinstance(refusal, kind)), Status.ERROR)
        except Exception:  # noqa: BLE001  # last line of defence: a defect of ours must neither leak nor go unmetered
            _log.exception("call of a tool failed unexpectedly", extra={"request_id": event_id})
            call.error = StoaError(f"Internal error; quote {event_id} when reporting it")
        return await self._finish(invocation, call, event_id)

    async def _run(
        self,
        invocation: Invocation,
        call: _Call,
        event_id: str,
        channel: ClientChannel | None,
        admitted: Admitted | None,
    ) -> ToolResult:
        principal, registered, permit, arguments = await self._govern(invocation, call)
        tool = registered.operation
        upstream = None if registered.tokens is None else _access(registered.tokens, principal, invocation)
        if tool.metered_arguments:
            call.metadata = {**call.metadata, **named_arguments(tool, arguments)}
        if self._budgets is not None and self._budgets.apply_to(principal.tenant):
            call.reservation = await self._budgets.reserve(
                principal.tenant, invocation.consumer, self._ceiling(tool, principal.tenant)
            )
        self._recorder.admit()
        call.has_room = True
        if admitted is not None:
            await admitted(tool, principal, lambda: self._unbilled(invocation, call, event_id))
        request_id = invocation.request_id or event_id
        obligations = NO_OBLIGATIONS if call.decision is None else call.decision.obligations
        client_requests: CallClientRequests | None = None
        try:
            with Deadline(tool.timeout_seconds) as deadline:
                if channel is not None:
                    call.requesting = RequestingCall(invocation, principal, tool, arguments, request_id, event_id)
                    client_requests = govern(channel, self._governor, call.requesting, deadline)
                    channel = _told_to_client(channel, obligations)
                if obligations.confirm is not None:
                    await _confirm(obligations.confirm, client_requests)
                call.is_sent = True
                door, consumer = invocation.door, invocation.consumer
                context = CallContext(permit, principal, request_id, channel, door, consumer, upstream, client_requests)
                answer = await registered.call(arguments, context)
        except TimeoutError as late:
            raise BackendTimedOut(f"No answer within {tool.timeout_seconds:g} s") from late
        except InputRequired as pause:
            if client_requests is None:  # raised by the tool itself, where no round can follow
                raise ClientCapabilityMissing(NO_CAPABILITIES.missing(pause.requests)) from pause
            raise InputRequired(await client_requests.end_round(pause.requests)) from pause

        if obligations.redact and tool.kind != "tool":  # their answers have no structure
            raise ContentUnavailable(WITHHELD)
        if isinstance(tool, Resource):
            return resource_contents(tool, answer, invocation.name)
        result = shape(answer) if isinstance(answer, RawAnswer) else answer
        if obligations.redact:
            result = redact(result, obligations.redact)
        return result if registered.output is None else registered.output.fit(result)

    async def _govern(
        self, invocation: Invocation, call: _Call
    ) -> tuple[Principal, CompiledOperation, Permit, JsonObject]:
        """Stages 1 to 6: as whom, what, by which permission, and with which valid arguments."""
        caller = call.principal = await self._admission.authenticate(invocation.credential)
        claims = self._admission.claims(caller, invocation.consumer)
        known = self._limiter.refusal(claims)
        if known is not None:
            raise_if_limited(known)
        try:
            principal, registered, permit, arguments = await self._authorise(invocation, call, caller)
        except Exception:
            call.verdict = await self._limiter.take(claims)
            raise_if_limited(call.verdict)  # a flood of denied calls learns no more than one of others
            raise
        claims += limits_of(registered.operation, principal, call.decision)
        call.verdict = await self._limiter.take(claims)
        raise_if_limited(call.verdict)

        if not is_object(arguments):  # doors pass on what came
            raise InvalidArguments([Violation("", "a JSON object")])
        registered.arguments.check(arguments)
        if self.running.is_over:
            raise ShuttingDown
        place = (principal.tenant, principal.identity_key)
        try:
            self._running.take(place)
        except NoRoom as full:
            raise QuotaExceeded(f"running calls of {_WHOSE[full.bound]}", 1.0) from full
        call.place = place
        return principal, registered, permit, arguments

    async def _authorise(
        self, invocation: Invocation, call: _Call, caller: Principal
    ) -> tuple[Principal, CompiledOperation, Permit, Any]:
        """Stages 3 and 4; the arguments are those that the policy saw, which may be no object."""
        principal = caller.acting_for(invocation.tenant)
        if principal is None:
            raise not_found(invocation.kind, invocation.name)
        call.principal = principal
        registered = self._registry.find(principal.tenant, invocation.name, invocation.kind)
        if registered is None:
            raise not_found(invocation.kind, invocation.name)
        call.registered = registered
        tool = registered.operation

        # A resource's arguments are the variables in its URI, whatever the door passed on.
        arguments = tool.match(invocation.name) or {} if isinstance(tool, Resource) else invocation.arguments
        # Coerced before the decision, and never again: the back end gets the object that the policy saw.
        # What is no object is refused after the policy: whether a tool exists must not show in the error.
        given = as_object(arguments)
        normal, coerced = registered.arguments.normalise_noting(given)
        query = PolicyQuery(principal, tool, normal, invocation.door)
        decision = call.decision = await self._policy.decide(query)
        permit = Permit.grant(decision, tool.key)
        if permit is None:
            raise NotPermitted(decision, is_missing_right=not principal.holds(tool.access))
        if coerced:  # told to those who may call the tool: it says something of its schema
            call.coerced, call.metadata = coerced, {"coerced": noted_places(coerced)}
        return principal, registered, permit, normal if given is arguments else arguments

    async def _finish(self, invocation: Invocation, call: _Call, event_id: str) -> Outcome:
        """The single finaliser."""
        self.running.tasks.pop(event_id, None)
        if call.place is not None:
            self._running.release(call.place)
        event = self._event(invocation, call, event_id, call.error)
        latency_ms, cost, request_id = event.latency_ms, event.cost_units, invocation.request_id or event_id
        is_told = True
        try:
            if not call.has_room:
                is_stranger = call.principal is None
                is_told = await self._recorder.keep_refusal(event, invocation, call.error, is_stranger=is_stranger)
            elif (lost := await self._recorder.keep(event)) is not None:
                # An answer whose event is not kept would be a call that never happened: it is withheld, and free.
                call.result, call.client_requests, call.error, call.status = None, None, lost, Status.ERROR
                cost = MicroUnits(0)
        finally:  # also when the caller goes away while the event is being written
            if self._budgets is not None and call.reservation is not None:
                self._budgets.settle(call.reservation, MicroUnits(cost + call.client_requests_cost))
            outcome = Outcome(
                status=call.status,
                result=call.result,
                error=call.error,
                decision=call.decision,
                principal=call.principal,
                request_id=request_id,
                latency_ms=latency_ms,
                cost=cost,
                event=event,
                client_requests=call.client_requests,
                limit=call.verdict,
                coerced=call.coerced,
            )
            if is_told:
                self._recorder.tell(invocation, outcome)
        return outcome

    async def bill(self, event: MeteringEvent) -> None:
        """Record what a process owed that died. Raises MeteringUnavailable."""
        lost = await self._recorder.keep(event, is_admitted=False)
        if lost is not None:
            raise lost

    def _unbilled(self, invocation: Invocation, call: _Call, event_id: str) -> MeteringEvent:
        """As if it had reached its back end: nobody will know."""
        return self._event(invocation, call, event_id, TaskInterrupted(), is_sent=True)

    def _event(
        self, invocation: Invocation, call: _Call, event_id: str, error: StoaError | None, *, is_sent: bool = False
    ) -> MeteringEvent:
        """The event of a call that ends now."""
        latency_ms = (self._recorder.now_ns() - call.started_ns) // 1_000_000
        now = self._recorder.now()
        return self._recorder.event(
            invocation,
            event_id=event_id,
            request_id=invocation.request_id or event_id,
            timestamp=now,
            principal=call.principal,
            operation=None if call.registered is None else call.registered.operation,
            decision=call.decision,
            error=error,
            status=call.status,
            latency_ms=latency_ms,
            cost=self._price(call, latency_ms, now) if is_sent or call.is_sent else MicroUnits(0),
            metadata=call.metadata,
        )

    def _price(self, call: _Call, latency_ms: int, now: datetime) -> MicroUnits:
        if call.registered is None or call.principal is None or call.status not in CHARGED:
            return MicroUnits(0)
        tariff = self._pricing.tariff(call.registered.operation, call.principal.tenant, now)
        size = call.result.size if tariff.counts_bytes and call.result is not None else 0
        cost = tariff.quote(latency_ms=latency_ms, bytes_out=size)
        if call.reservation is None:
            return cost
        # The wait for an answer is no part of the time that was reserved for: events say no more than was taken.
        return min(cost, MicroUnits(call.reservation.amount - call.client_requests_cost))

    def _ceiling(self, tool: Operation, tenant: TenantId | None) -> MicroUnits:
        """The most that a call may cost, with all the client requests that it may make."""
        tariff = self._pricing.tariff(tool, tenant, self._recorder.now())
        requests = self._governor.per_call(tenant) * tariff.per_question
        return MicroUnits(tariff.ceiling(timeout_seconds=tool.timeout_seconds, max_bytes_out=SIZE_LIMIT) + requests)


def _access(tokens: TokenSupply, principal: Principal, invocation: Invocation) -> UpstreamAccess:
    credential = invocation.credential
    return tokens.bind(principal, credential if isinstance(credential, BearerToken) else invocation.proof)


def _told_to_client(channel: ClientChannel, obligations: Obligations) -> ClientChannel:
    """The channel for messages of the back end, without text where the policy hides parts of the answer."""
    return WithheldText(channel) if obligations.redact else channel


async def _confirm(sentence: str, client_requests: CallClientRequests | None) -> None:
    """Have the user agree, by a governed client request like any other. Raises ClientCapabilityMissing where the client
    takes no requests, and ClientRequestDeclined."""
    request = ElicitationRequest(sentence, _AGREEMENT, is_confirmation=True)
    if client_requests is None:
        raise ClientCapabilityMissing(NO_CAPABILITIES.missing({_CONFIRMATION: request}))
    answer = (await client_requests.send({_CONFIRMATION: request}))[_CONFIRMATION]
    if not (
        isinstance(answer, ElicitationAnswer) and answer.action == "accept" and answer.content.get("agree") is True
    ):
        raise ClientRequestDeclined(_CONFIRMATION)
