"""The application's part in the shutdown and the reload of a server.

The server finds the Lifecycle in the lifespan's state, where the application puts it.

    drain      not ready; requests are served, each answer closes its connection
    finish     nothing is accepted; streams end; running requests end by themselves
    cut        the remaining calls are answered that the gateway is shutting down
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stoa.application.calls.running_calls import RunningCalls
from stoa.application.ports.health import Health, HealthProbe
from stoa.interfaces.http.connections import Connections

LIFECYCLE_KEY = "stoa.lifecycle"
"""Key in the lifespan's state."""
Reload = Callable[[], Awaitable[Any]]

_log = logging.getLogger(__name__)


class Lifecycle(HealthProbe):
    """Shutdown and reload. `drain_seconds`: how long requests are served after the gateway reports that it is not
    ready; `grace_seconds`: how long running requests may take then. `end_streams` ends streams, which do not end by
    themselves. `reloads`: functions that read files again on SIGHUP, by name; each keeps its current content if the new
    one cannot be used."""

    name = "lifecycle"

    def __init__(
        self,
        connections: Connections,
        calls: RunningCalls,
        end_streams: Callable[[], None],
        *,
        drain_seconds: float,
        grace_seconds: float,
        reloads: Mapping[str, Reload],
    ) -> None:
        self.drain_seconds = drain_seconds
        self.grace_seconds = grace_seconds
        self._connections = connections
        self._calls = calls
        self._end_streams = end_streams
        self._reloads = dict(reloads)

    @property
    def running_calls(self) -> int:
        return len(self._calls)

    def health(self) -> Health:
        if self._connections.is_draining:
            return Health(False, "shutting down", ("the gateway was told to end; it serves what still comes",))
        return Health(True, "serving")

    def drain(self) -> None:
        self._connections.drain()

    def end_streams(self) -> None:
        self._end_streams()

    def cut(self) -> int:
        """Cancels the remaining calls; returns their number."""
        return self._calls.cut()

    async def reload(self) -> None:
        """Runs all reloads. Never raises."""
        for name, reload in self._reloads.items():
            try:
                await reload()
            except Exception:  # noqa: BLE001  # an error in one must not keep the others from being read
                _log.exception("SIGHUP: %s: cannot be read again; what was there stays", name)
        _log.info("SIGHUP: read again: %s", ", ".join(self._reloads))
