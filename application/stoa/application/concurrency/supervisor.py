"""Supervised background work: work that fails is started again, and operators see that it failed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import cast

from stoa.application.concurrency.cancellation import cancel_and_wait, is_cancelled
from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""Work that ran this long has recovered: its next pause is the first one again, and its finding goes."""

Background = Callable[[], Coroutine[None, None, None]]
"""Starts one piece of work, which runs until it is cancelled."""
Sleep = Callable[[float], Awaitable[None]]
ReportDefect = Callable[[str, BaseException], None]
"""Called with the name of background work and an unexpected exception that it survives."""

_log = logging.getLogger(__name__)


def log_defect(name: str, defect: BaseException) -> None:
    """Logs the defect; used where there is no Supervisor."""
    _log.error("background work %r met a defect and goes on", name, exc_info=defect)


@dataclass(slots=True)
class _Part:
    began_ns: int
    failure: str = ""
    """Class of the exception that ended the work last."""
    restarts: int = 0
    pause_seconds: float = FIRST_PAUSE_SECONDS


def _ignore(_: str) -> None:
    pass


class Supervisor(HealthProbe):
    """Runs background work by name: `catalogue`, `policy`, `token keys`.

    Work that raises, or returns, is started again after a pause that doubles from FIRST_PAUSE_SECONDS to
    LONGEST_PAUSE_SECONDS while it keeps dying. Calls go on, so the gateway stays ready; `health` has a
    finding until the work has run for STEADY_SECONDS. `restarted` hears the name of each part that is started again.
    """

    name = "background"

    def __init__(
        self, clock: Clock, *, restarted: Callable[[str], None] = _ignore, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._clock = clock
        self._restarted = restarted
        self._sleep = sleep
        self._parts: dict[str, _Part] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, background: Mapping[str, Background]) -> None:
        for name, work in background.items():
            self._parts[name] = _Part(self._clock.monotonic_ns())
            self._tasks.append(asyncio.create_task(self._keep_running(name, work), name=name))

    def report(self, name: str, defect: BaseException) -> None:
        """Count, log and show a defect in work that continues by itself, such as a Redis listener or one batch of
        events. A ReportDefect."""
        part = self._parts.setdefault(name, _Part(self._clock.monotonic_ns()))
        is_known = part.failure == _kind_of(defect) and self._seconds_since(part.began_ns) < STEADY_SECONDS
        part.failure, part.began_ns = _kind_of(defect), self._clock.monotonic_ns()
        part.restarts += 1
        # Once with its traceback: a defect that comes back with every call must not fill the disk.
        _log.error("background work %r met a defect and goes on", name, exc_info=None if is_known else defect)
        self._restarted(name)

    async def stop(self) -> None:
        """Cancel all work and wait for its end."""
        await cancel_and_wait(*self._tasks)
        self._tasks.clear()

    def health(self) -> Health:
        findings = [
            f"{name}: ended unexpectedly ({part.failure}) and was started again, {part.restarts} times so far; the "
            "log has the reason"
            for name, part in self._parts.items()
            if part.failure and self._seconds_since(part.began_ns) < STEADY_SECONDS
        ]
        return Health(True, f"{len(self._parts)} running", tuple(findings))

    async def _keep_running(self, name: str, work: Background) -> None:
        part = self._parts[name]
        while True:
            part.began_ns = self._clock.monotonic_ns()
            try:
                await work()
                part.failure = "no exception"
                _log.error("background work %r ended although nothing asked it to; starting it again", name)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                part.failure = "CancelledError"  # of something that it waited for
                _log.exception("background work %r was ended by another's cancellation; starting it again", name)
            except Exception as caught:  # noqa: BLE001  # a defect of ours must not end it for good
                part.failure = _kind_of(caught)
                _log.exception("background work %r failed; starting it again", name)
            if self._seconds_since(part.began_ns) >= STEADY_SECONDS:
                part.pause_seconds = FIRST_PAUSE_SECONDS
            await self._sleep(part.pause_seconds)
            part.pause_seconds = min(2 * part.pause_seconds, LONGEST_PAUSE_SECONDS)
            part.restarts += 1
            self._restarted(name)

    def _seconds_since(self, moment_ns: int) -> float:
        return (self._clock.monotonic_ns() - moment_ns) / 1e9


def _kind_of(defect: BaseException) -> str:
    """The class of an exception; for a group, that of its first one."""
    while isinstance(defect, BaseExceptionGroup):
        parts: tuple[BaseException, ...] = cast("BaseExceptionGroup[BaseException]", defect).exceptions
        defect = parts[0]
    return type(defect).__name__
