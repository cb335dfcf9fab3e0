"""How calls, and the questions that they ask, are recorded: the one place where metering events are made and kept, and
observers told."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

import pydantic_core

from stoa.application.ports.clock import Clock
from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.application.ports.metering import MeteringSink
from stoa.domain.errors import MeteringUnavailable, StoaError
from stoa.domain.identity import Principal
from stoa.domain.invocation import Invocation, Outcome
from stoa.domain.json_value import JsonObject
from stoa.domain.metering import NO_TENANT, NO_USER, MeteringEvent, Status
from stoa.domain.money import MicroUnits
from stoa.domain.operation import Operation
from stoa.domain.policy import Decision

_log = logging.getLogger(__name__)


class Recorder:
    """Where events go, and who else is told how calls end."""

    def __init__(self, sink: MeteringSink, observers: Iterable[InvocationObserver], clock: Clock) -> None:
        self._sink = sink
        self._observers = tuple(observers)
        self._clock = clock

    def now_ns(self) -> int:
        return self._clock.monotonic_ns()

    def now(self) -> datetime:
        return self._clock.now()

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
        asked: str = "",
        metadata: Mapping[str, str] = {},
    ) -> MeteringEvent:
        """The event of what ends at `timestamp`. `asked`: of a question its kind. `metadata`: what else it says."""
        api = None if operation is None else operation.api
        said = {"door": invocation.door, **metadata}
        if decision is not None:
            said["rules"] = ",".join(decision.rules)
        if error is not None:
            said["error"] = error.code
        name = _metered_name(invocation, operation)
        return MeteringEvent(
            event_id=event_id,
            timestamp=timestamp,
            tenant=(principal.tenant if principal is not None else None) or NO_TENANT,
            project=None if api is None else api.name,
            consumer=_safe(invocation.consumer),
            user_id=NO_USER if principal is None else principal.subject,
            tool=_safe(f"{asked}:{name}" if asked else name) or "-",
            latency_ms=latency_ms,
            status=status,
            cost_units=cost,
            request_id=_safe(request_id),
            metadata=said,
        )

    def admit(self) -> None:
        """Raises MeteringUnavailable, as the caller is told of it."""
        try:
            self._sink.admit()
        except MeteringUnavailable as full:
            raise _unmetered(full) from full

    async def keep(self, event: MeteringEvent, *, is_admitted: bool) -> MeteringUnavailable | None:
        """Returns why the event is not kept, as the caller is told of it."""
        try:
            await self._sink.record(event, is_admitted=is_admitted)
        except MeteringUnavailable as lost:
            return _unmetered(lost)
        except Exception:  # noqa: BLE001  # last line of defence: whether the event is kept is not known
            _log.exception("metering failed unexpectedly", extra={"request_id": event.request_id})
            return MeteringUnavailable(f"Internal error; quote {event.event_id} when reporting it")
        return None

    def tell(self, invocation: Invocation, outcome: Outcome) -> None:
        for observer in self._observers:
            try:
                observer.finished(invocation, outcome)
            except Exception:  # noqa: BLE001  # a broken observer must not fail a call that has happened
                _log.exception("an observer failed", extra={"observer": type(observer).__name__})


def named_arguments(operation: Operation, arguments: JsonObject) -> dict[str, str]:
    """The arguments whose values the operation's manifest allows in its events."""
    return {f"argument.{name}": _text(arguments[name]) for name in operation.metered_arguments if name in arguments}


def _text(value: object) -> str:
    return _safe(value if isinstance(value, str) else pydantic_core.to_json(value).decode())


def _metered_name(invocation: Invocation, operation: Operation | None) -> str:
    """What was called. Of a template its text: how many names there are must not be the callers' choice."""
    if invocation.kind == "tool":
        return invocation.tool
    return f"{invocation.kind}:{invocation.tool if operation is None else operation.name}"


def _safe(text: str) -> str:
    """What the caller wrote, as text that every reader of events can store."""
    return text[:128] if text.isascii() else text[:128].encode("utf-8", "replace").decode("utf-8")


def _unmetered(reason: MeteringUnavailable) -> MeteringUnavailable:
    """What the caller is told; the reason names the operator's disk and is for the log."""
    _log.error("a call was refused because it could not be metered: %s", reason.message)
    return MeteringUnavailable("Usage cannot be recorded at the moment, so calls are refused")
