"""The one way to call a back end, whatever door the call came through.

1  authenticate          nothing is looked up for a stranger
2  caller limit          protects what follows, also from floods of calls that will be denied
3  find                  the tool, resource or prompt in the caller's view: unknown and invisible are the same answer
4  authorise             the policy sees the arguments; it yields a Permit: no permit, no call
5  tool limit            after authorisation: denied calls do not use up a tool's allowance
6  validate arguments    after authorisation: strangers learn no schema
7  call                  within the tool's deadline, with the tool's credentials, never the caller's; acting in the
                         caller's name, it gets what yields tokens for its back end, and nothing else
8  shape the result
9  finish                one metering event, one metric, one audit line, for every outcome, cancelled ones too
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from stoa.application.admit_caller import AdmitCaller
from stoa.application.patient_channel import PatientChannel
from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.clock import Clock, IdFactory
from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.application.ports.metering import MeteringSink
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.tool_backend import CallContext
from stoa.application.ports.upstream_access import UpstreamAccess
from stoa.application.tool_registry import RegisteredTool, ToolRegistry
from stoa.application.upstream_tokens import TokenSupply
from stoa.domain.dialogue import NO_CAPABILITIES, InputRequest, InputRequired
from stoa.domain.errors import (
    BackendSpokeNonsense,
    BackendTimedOut,
    BackendUnavailable,
    ClientCannot,
    ClientRefused,
    InvalidArguments,
    InvalidState,
    MeteringUnavailable,
    NotAuthenticated,
    NotPermitted,
    QuotaExceeded,
    StoaError,
    ToolNotFound,
    UpstreamAccessDenied,
    Violation,
    not_found,
)
from stoa.domain.identity import Principal
from stoa.domain.invocation import BearerToken, Invocation, Outcome
from stoa.domain.json_value import as_object, is_object
from stoa.domain.metering import CHARGED, NO_TENANT, NO_USER, MeteringEvent, PriceList, Status
from stoa.domain.money import MicroUnits
from stoa.domain.policy import Decision, Permit, PolicyQuery
from stoa.domain.resource import Resource
from stoa.domain.result import RawAnswer, ToolResult, shape

_log = logging.getLogger(__name__)

_REFUSAL_STATUS: tuple[tuple[type[StoaError], Status], ...] = (
    (NotAuthenticated, Status.UNAUTHORIZED),
    (NotPermitted, Status.UNAUTHORIZED),
    (UpstreamAccessDenied, Status.UNAUTHORIZED),
    (ToolNotFound, Status.INVALID),
    (QuotaExceeded, Status.RATE_LIMITED),
    (InvalidArguments, Status.INVALID),
    (InvalidState, Status.INVALID),
    (ClientCannot, Status.INVALID),
    (ClientRefused, Status.ERROR),
)


class _Call:
    """What is known of a call while it runs; the finaliser reads it, however far the call came."""

    __slots__ = ("decision", "error", "is_sent", "principal", "questions", "registered", "result", "status")

    def __init__(self) -> None:
        self.principal: Principal | None = None
        self.registered: RegisteredTool | None = None
        self.decision: Decision | None = None
        self.is_sent = False
        self.status = Status.ERROR
        self.result: ToolResult | None = None
        self.error: StoaError | None = None
        self.questions: Mapping[str, InputRequest] | None = None


class InvokeTool:
    """Runs one invocation through all stages. Refusals and failures come back as an Outcome, they are not raised;
    only cancellation is, after the call has been metered."""

    def __init__(
        self,
        *,
        admission: AdmitCaller,
        registry: ToolRegistry,
        policy: PolicyEngine,
        limiter: RateLimiter,
        sink: MeteringSink,
        observers: Sequence[InvocationObserver],
        clock: Clock,
        ids: IdFactory,
        prices: PriceList,
    ) -> None:
        self._admission = admission
        self._registry = registry
        self._policy = policy
        self._limiter = limiter
        self._sink = sink
        self._observers = tuple(observers)
        self._clock = clock
        self._ids = ids
        self._prices = prices

    async def execute(self, invocation: Invocation, channel: ClientChannel | None = None) -> Outcome:
        """`channel`: the way back to the client, where the door has one."""
        started_ns = self._clock.monotonic_ns()
        event_id = self._ids.new_id()
        call = _Call()
        try:
            call.result = await self._run(invocation, call, invocation.request_id or event_id, channel)
            call.status = Status.ERROR if call.result.is_error else Status.SUCCESS
        except asyncio.CancelledError:
            call.status = Status.CANCELLED
            await self._finish(invocation, call, event_id, started_ns)
            raise
        except (BackendUnavailable, BackendTimedOut, BackendSpokeNonsense) as failure:
            call.status = Status.TIMEOUT if isinstance(failure, BackendTimedOut) else Status.ERROR
            call.result = ToolResult.error(f"{failure.message} [{failure.code}]")
        except InputRequired as pause:
            if channel is None:  # raised by the tool itself, where no round can follow
                call.error, call.status = ClientCannot(NO_CAPABILITIES.missing(pause.requests)), Status.INVALID
            else:
                call.questions, call.status = pause.requests, Status.INPUT_REQUIRED
        except StoaError as refusal:
            call.error = refusal
            call.status = next((status for kind, status in _REFUSAL_STATUS if isinstance(refusal, kind)), Status.ERROR)
        except Exception:  # noqa: BLE001  # last line of defence: a defect of ours must neither leak nor go unmetered
            _log.exception("call of a tool failed unexpectedly", extra={"request_id": event_id})
            call.error = StoaError(f"Internal error; quote {event_id} when reporting it")
        return await self._finish(invocation, call, event_id, started_ns)

    async def _run(
        self, invocation: Invocation, call: _Call, request_id: str, channel: ClientChannel | None = None
    ) -> ToolResult:
        caller = call.principal = await self._admission.authenticate(invocation.credential)
        await self._admission.limit(caller)

        principal = caller.acting_for(invocation.tenant)
        if principal is None:
            raise not_found(invocation.kind, invocation.tool)
        call.principal = principal
        registered = self._registry.find(principal.tenant, invocation.tool, invocation.kind)
        if registered is None:
            raise not_found(invocation.kind, invocation.tool)
        call.registered = registered
        tool = registered.tool

        # A resource's arguments are the variables in its URI, whatever the door passed on.
        arguments = tool.match(invocation.tool) or {} if isinstance(tool, Resource) else invocation.arguments
        # What is no object is refused below, after the policy: whether a tool exists must not show in the error.
        query = PolicyQuery(principal, tool, as_object(arguments), invocation.door)
        decision = call.decision = await self._policy.decide(query)
        permit = Permit.grant(decision, tool.key)
        if permit is None:
            raise NotPermitted(decision)

        if tool.rate_limit is not None:
            # Per tenant: one tenant's load on a global tool must neither slow another nor be seen by it.
            verdict = await self._limiter.take(f"tool:{principal.tenant}:{tool.key}", tool.rate_limit)
            if not verdict.is_allowed:
                raise QuotaExceeded("tool", verdict.retry_after_seconds)

        if not is_object(arguments):  # doors pass on what came
            raise InvalidArguments([Violation("", "a JSON object")])
        arguments = registered.arguments.check(arguments)
        upstream = None if registered.tokens is None else _access(registered.tokens, principal, invocation)

        try:
            self._sink.admit()
        except MeteringUnavailable as full:
            raise _unmetered(full) from full
        call.is_sent = True
        try:
            async with asyncio.timeout(tool.timeout_seconds) as deadline:
                patient = None if channel is None else PatientChannel(channel, deadline)
                context = CallContext(permit, principal, request_id, patient, invocation.door, upstream)
                answer = await registered.call(arguments, context)
        except TimeoutError as late:
            raise BackendTimedOut(f"No answer within {tool.timeout_seconds:g} s") from late

        if isinstance(tool, Resource):
            return tool.contents(answer, invocation.tool)
        result = shape(answer) if isinstance(answer, RawAnswer) else answer
        return result if registered.output is None else registered.output.fit(result)

    async def _finish(self, invocation: Invocation, call: _Call, event_id: str, started_ns: int) -> Outcome:
        """The single finaliser."""
        latency_ms = (self._clock.monotonic_ns() - started_ns) // 1_000_000
        cost = self._price(call, latency_ms)
        request_id = invocation.request_id or event_id
        event = self._event(invocation, call, event_id, request_id, latency_ms, cost)
        try:
            await self._sink.record(event, is_admitted=call.is_sent)
        except MeteringUnavailable as lost:
            # An answer whose event is not kept would be a call that never happened: it is withheld, and free.
            call.result, call.questions, call.error, call.status, cost = (
                None,
                None,
                _unmetered(lost),
                Status.ERROR,
                MicroUnits(0),
            )
        except Exception:  # noqa: BLE001  # last line of defence, as in execute: whether the event is kept is not known
            _log.exception("metering failed unexpectedly", extra={"request_id": event_id})
            doubt = MeteringUnavailable(f"Internal error; quote {event_id} when reporting it")
            call.result, call.questions, call.error, call.status, cost = None, None, doubt, Status.ERROR, MicroUnits(0)
        finally:  # also when the caller goes away while the event is being written
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
                questions=call.questions,
            )
            self._tell(invocation, outcome)
        return outcome

    def _tell(self, invocation: Invocation, outcome: Outcome) -> None:
        for observer in self._observers:
            try:
                observer.finished(invocation, outcome)
            except Exception:  # noqa: BLE001  # a broken observer must not fail a call that has happened
                _log.exception("an observer failed", extra={"observer": type(observer).__name__})

    def _price(self, call: _Call, latency_ms: int) -> MicroUnits:
        if not call.is_sent or call.registered is None or call.status not in CHARGED:
            return MicroUnits(0)
        return self._prices.quote(is_premium=call.registered.tool.is_premium, latency_ms=latency_ms)

    def _event(
        self, invocation: Invocation, call: _Call, event_id: str, request_id: str, latency_ms: int, cost: MicroUnits
    ) -> MeteringEvent:
        principal, registered = call.principal, call.registered
        api = registered.tool.api if registered is not None else None
        metadata: dict[str, str] = {"door": invocation.door}
        if call.decision is not None:
            metadata["rules"] = ",".join(call.decision.rules)
        if call.error is not None:
            metadata["error"] = call.error.code
        return MeteringEvent(
            event_id=event_id,
            timestamp=self._clock.now(),
            tenant=(principal.tenant if principal is not None else None) or NO_TENANT,
            project=None if api is None else api.name,
            consumer=_safe(invocation.consumer),
            user_id=NO_USER if principal is None else principal.subject,
            tool=_safe(_metered_name(invocation, registered)) or "-",
            latency_ms=latency_ms,
            status=call.status,
            cost_units=cost,
            request_id=_safe(request_id),
            metadata=metadata,
        )


def _access(tokens: TokenSupply, principal: Principal, invocation: Invocation) -> UpstreamAccess:
    credential = invocation.credential
    return tokens.bind(principal, credential if isinstance(credential, BearerToken) else invocation.proof)


def _metered_name(invocation: Invocation, registered: RegisteredTool | None) -> str:
    """What was called. Of a template its text: how many names there are must not be the callers' choice."""
    if invocation.kind == "tool":
        return invocation.tool
    return f"{invocation.kind}:{invocation.tool if registered is None else registered.tool.name}"


def _safe(text: str) -> str:
    """What the caller wrote, as text that every reader of events can store."""
    return text[:128] if text.isascii() else text[:128].encode("utf-8", "replace").decode("utf-8")


def _unmetered(reason: MeteringUnavailable) -> MeteringUnavailable:
    """What the caller is told; the reason names the operator's disk and is for the log."""
    _log.error("a call was refused because it could not be metered: %s", reason.message)
    return MeteringUnavailable("Usage cannot be recorded at the moment, so calls are refused")
