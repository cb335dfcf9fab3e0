"""What calls, and the questions that they ask, have in common when they are recorded."""

import logging
from collections.abc import Iterable

from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.application.ports.metering import MeteringSink
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.invocation import Invocation, Outcome
from stoa.domain.operation import Operation

_log = logging.getLogger(__name__)


def metered_name(invocation: Invocation, operation: Operation | None) -> str:
    """What was called. Of a template its text: how many names there are must not be the callers' choice."""
    if invocation.kind == "tool":
        return invocation.tool
    return f"{invocation.kind}:{invocation.tool if operation is None else operation.name}"


def safe(text: str) -> str:
    """What the caller wrote, as text that every reader of events can store."""
    return text[:128] if text.isascii() else text[:128].encode("utf-8", "replace").decode("utf-8")


def admit(sink: MeteringSink) -> None:
    """Raises MeteringUnavailable, as the caller is told of it."""
    try:
        sink.admit()
    except MeteringUnavailable as full:
        raise unmetered(full) from full


def unmetered(reason: MeteringUnavailable) -> MeteringUnavailable:
    """What the caller is told; the reason names the operator's disk and is for the log."""
    _log.error("a call was refused because it could not be metered: %s", reason.message)
    return MeteringUnavailable("Usage cannot be recorded at the moment, so calls are refused")


def tell(observers: Iterable[InvocationObserver], invocation: Invocation, outcome: Outcome) -> None:
    for observer in observers:
        try:
            observer.finished(invocation, outcome)
        except Exception:  # noqa: BLE001  # a broken observer must not fail a call that has happened
            _log.exception("an observer failed", extra={"observer": type(observer).__name__})
