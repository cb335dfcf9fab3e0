"""The end of a server, and its reloading, as the application takes part in them.

The server finds the Lifecycle in the lifespan's state, where the application put it.

    drain      not ready; requests are served, each answer closes its connection
    finish     nothing is accepted; streams end; what is under way ends by itself
    cut        what is left is told that the gateway is shutting down
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stoa.application.calls.running_calls import RunningCalls
from stoa.application.ports.health import Health, HealthProbe
from stoa.interfaces.http.connections import Connections

LIFECYCLE_KEY = "stoa.lifecycle"
"""Of the lifespan's state."""
Reload = Callable[[], Awaitable[Any]]

_log = logging.getLogger(__name__)


class Lifecycle(HealthProbe):
    """`drain_seconds`: how long requests are served after the gateway said that it is not ready; `grace_seconds`: how
    long what is under way may take then. `end_streams` ends those that would not end by themselves. `reloads`: what is
    read again on SIGHUP, by name; each keeps what it has when the new cannot be used."""

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
        """How many calls it ended."""
        return self._calls.cut()

    async def reload(self) -> None:
        """Never raises."""
        for name, reload in self._reloads.items():
            try:
                await reload()
            except Exception:  # noqa: BLE001  # whatever it is, the others are read
                _log.exception("SIGHUP: %s: cannot be read again; what was there stays", name)
        _log.info("SIGHUP: read again: %s", ", ".join(self._reloads))
