"""The recorder makes the metering events of calls and of their client requests, keeps them, and informs observers."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import pydantic_core

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.memory.ids import UuidFactory
from stoa.application.metering.refusal_tally import RefusalKind, RefusalTally
from stoa.application.ports.clock import Clock, IdFactory
from stoa.application.ports.invocation_observer import InvocationObserver, InvocationTracer, RefusalObserver
from stoa.application.ports.metering import MeteringSink
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.errors import MeteringUnavailable, StoaError
from stoa.domain.metering.event import NO_TENANT, NO_USER, UNKNOWN_NAME, EventKind, MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision, Door
from stoa.domain.schema.json_value import JsonObject

_log = logging.getLogger(__name__)
UNKNOWN_CONSUMER = "unknown"
_MAX_TEXT = 128
"""Upper bound on the characters of one text in an event."""
_make_event: Callable[[Mapping[str, object]], MeteringEvent] = MeteringEvent.__pydantic_validator__.validate_python
"""The function behind the model's constructor, without the Python around it."""
_MOST_KINDS = 16_384
_KindKey = tuple[int, TenantId | None, str, str, Door, tuple[bool, tuple[str, ...]], Status, str]
"""Operation (its id), tenant, subject, consumer, door, decision, status and kind of client request."""
_LOG_EVERY_NS = 10_000_000_000
"""A full disk is logged once per interval, not for every call that meets it."""


class Recorder:
    """Keeps events in a sink, tallies refusals that have none of their own, and informs observers."""

    def __init__(
        self,
        sink: MeteringSink,
        observers: Iterable[InvocationObserver],
        clock: Clock,
        ids: IdFactory | None = None,
    ) -> None:
        self._sink = sink
        self._observers = tuple(observers)
        self._refusal_observers = [observer for observer in self._observers if isinstance(observer, RefusalObserver)]
        tracers = [observer for observer in self._observers if isinstance(observer, InvocationTracer)]
        if len(tracers) > 1:
            raise ValueError("at most one observer can be an InvocationTracer: a back end is told of one span")
        self.tracer = tracers[0] if tracers else None
        """None: no spans are made."""
        self.clock = clock
        self._kinds: BoundedCache[_KindKey, tuple[EventKind, Operation | None]] = BoundedCache(_MOST_KINDS)
        """With the operation, so that no other gets its id."""
        self._unlogged = 0
        self._log_again_ns = 0
        self._tally = RefusalTally(sink, clock, ids or UuidFactory(), self._tell_summary)

    def event(
        self,
        invocation: Invocation,
        *,
        event_id: str,
        request_id: str,
        timestamp: datetime,
        principal: Principal | None,
        operation: Operation | None,
        decision: Decision | None,
        error: StoaError | None,
        status: Status,
        latency_ms: int,
        cost: MicroUnits,
        client_request: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> MeteringEvent:
        """The event of a call, or of its client request, that ends at `timestamp`. `client_request`: the kind of the
        client request. `metadata`: added to what every event has."""
        consumer = invocation.consumer
        if consumer != UNKNOWN_CONSUMER:
            consumer = _safe(consumer)
        if request_id is not event_id:
            request_id = _safe(request_id)
        if principal is None or operation is None or decision is None or error is not None or metadata:
            key: _KindKey | None = None
        else:  # as of most calls, whose events differ in little
            tenant, subject, door = principal.tenant, principal.subject, invocation.door
            judged = (decision.is_allowed, decision.rules)
            key = (id(operation), tenant, subject, consumer, door, judged, status, client_request)
            known = self._kinds.get(key)
            if known is not None:
                return known[0].event(event_id, timestamp, latency_ms, cost, request_id)
        api = None if operation is None else operation.api
        facts = {"door": invocation.door, **(metadata or {})}
        if decision is not None:
            facts["rules"] = ",".join(decision.rules)
        if error is not None:
            facts["error"] = error.code
        name = UNKNOWN_NAME if operation is None else operation.qualified_name
        event = _make_event(
            {
                "event_id": event_id,
                "timestamp": timestamp,
                "tenant": (principal.tenant if principal is not None else None) or NO_TENANT,
                "project": None if api is None else api.name,
                "consumer": consumer,
                "user_id": NO_USER if principal is None else principal.subject,
                "tool": (f"{client_request}:{name}" if client_request else name)[:_MAX_TEXT] or "-",
                "latency_ms": latency_ms,
                "status": status,
                "cost_units": cost,
                "request_id": request_id,
                "metadata": facts,
            }
        )
        if key is not None:
            self._kinds.put(key, (EventKind(event), operation))
        return event

    def reserve(self) -> None:
        """Reserve room for one event. Raises MeteringUnavailable with the text for the caller."""
        try:
            self._sink.reserve()
        except MeteringUnavailable as full:
            raise self._unmetered(full) from full

    async def keep(self, event: MeteringEvent, *, is_reserved: bool = True) -> MeteringUnavailable | None:
        """Record the event. Returns None, or the error with the text for the caller if it could not be recorded."""
        try:
            await self._sink.record(event, is_reserved=is_reserved)
        except MeteringUnavailable as lost:
            return self._unmetered(lost)
        except Exception:  # noqa: BLE001  # last line of defence: whether the event is kept is not known
            _log.exception("metering failed unexpectedly", extra={"request_id": event.request_id})
            return MeteringUnavailable(f"Internal error; quote {event.event_id} when reporting it")
        return None

    async def keep_refusal(
        self, event: MeteringEvent, invocation: Invocation, error: StoaError | None, *, is_stranger: bool
    ) -> bool:
        """Record the event of a call that was refused before room was reserved for it. False: it was counted instead,
        and observers have been informed. `is_stranger`: its caller was never authenticated."""
        if not is_stranger and self._tally.may_stand_alone(event.tenant):
            try:
                await self._sink.record_refusal(event)
            except MeteringUnavailable:
                pass  # counted, and so is every other one until there is room
            except Exception:  # noqa: BLE001  # last line of defence: a refusal stays a refusal, and is not lost
                _log.exception("metering failed unexpectedly", extra={"request_id": event.request_id})
            else:
                return True
        code = "cancelled" if error is None else error.code
        self._count(RefusalKind(event.tenant, invocation.door, event.status, code, event.tool), 1, invocation.name)
        return False

    def count_strangers(self, door: Door, status: Status, code: str, calls: int = 1, name: str = "") -> None:
        """Count requests whose caller a door could not authenticate. `name`: the operation that they named."""
        self._count(RefusalKind(NO_TENANT, door, status, code, UNKNOWN_NAME), calls, name)

    async def flush(self) -> None:
        """Record the refusals that were counted so far."""
        await self._tally.flush()

    async def close(self) -> None:
        """Record the refusals that are counted and in no event yet."""
        await self._tally.close()

    def _count(self, kind: RefusalKind, calls: int, name: str) -> None:
        self._tally.count(kind, calls, name)
        self._tell(lambda observer: observer.refused(kind.door, kind.status, kind.code, calls))

    def _tell_summary(self, event: MeteringEvent, name: str) -> None:
        self._tell(lambda observer: observer.summarised(event, name))

    def _unmetered(self, reason: MeteringUnavailable) -> MeteringUnavailable:
        """The error for the caller. The reason names the operator's disk and goes to the log, at intervals."""
        self._unlogged += 1
        now_ns = self.clock.monotonic_ns()
        if now_ns >= self._log_again_ns:
            _log.error("%d calls were refused because they could not be metered: %s", self._unlogged, reason.message)
            self._unlogged, self._log_again_ns = 0, now_ns + _LOG_EVERY_NS
        return MeteringUnavailable("Usage cannot be recorded at the moment, so calls are refused")

    def _tell(self, tell: Callable[[RefusalObserver], None]) -> None:
        for observer in self._refusal_observers:
            try:
                tell(observer)
            except Exception:  # noqa: BLE001  # a broken observer must not change a refusal
                _log.exception("an observer failed", extra={"observer": type(observer).__name__})

    def tell(self, invocation: Invocation, outcome: Outcome) -> None:
        for observer in self._observers:
            try:
                observer.finished(invocation, outcome)
            except Exception:  # noqa: BLE001  # a broken observer must not fail a call that has happened
                _log.exception("an observer failed", extra={"observer": type(observer).__name__})


def named_arguments(operation: Operation, arguments: JsonObject) -> dict[str, str]:
    """The arguments whose values the operation's manifest allows in its events."""
    return {f"argument.{name}": _text(arguments[name]) for name in operation.metered_arguments if name in arguments}


def noted_places(pointers: Iterable[str]) -> str:
    """JSON Pointers into the arguments as one text, cut to the length that an event carries."""
    return _safe(" ".join(pointers))


def _text(value: object) -> str:
    return _safe(value if isinstance(value, str) else pydantic_core.to_json(value).decode())


def _safe(text: str) -> str:
    """Text from a caller, in a form that every reader of events can store."""
    text = text[:_MAX_TEXT]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
