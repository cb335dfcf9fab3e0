"""Resource updates that a program announces on one replica, passed on to the watchers on the others.

Each replica sees changes of the catalogue by itself. An update that a program announces is known only to the replica
that the program runs in.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from stoa.application.catalogue.watch_resources import ResourceUpdate
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.message_bus import MessageBus
from stoa.domain.errors import SharedStateUnavailable
from stoa.interfaces.mcp.streams.replica_relay import ReplicaRelay

_log = logging.getLogger(__name__)

_TOPIC = "announcements"
UPDATES_PER_MESSAGE = 100
_UPDATES = TypeAdapter(list[ResourceUpdate])


class Announcements:
    """Passes updates on between replicas. `heard` is called with each update that another replica announced, never with
    this replica's own. While the bus cannot be reached the others miss updates; the log says so once."""

    def __init__(
        self, bus: MessageBus, heard: Callable[[ResourceUpdate], None], *, report: ReportDefect = log_defect
    ) -> None:
        self._relay = ReplicaRelay(bus, {"updated": self._hear}, _TOPIC, report=report)
        self._report = report
        self._heard = heard
        self._waiting: set[ResourceUpdate] = set()
        self._sending: asyncio.Task[None] | None = None
        self._is_lost = False

    async def open(self) -> None:
        """Receive updates until `close`."""
        await self._relay.open()

    async def close(self) -> None:
        """Send what was passed on before, if it can be, and receive no more."""
        if self._sending is not None:
            await asyncio.wait({self._sending})
        await self._relay.close()

    def pass_on(self, updates: set[ResourceUpdate]) -> None:
        """Send updates without waiting for it. Those that come while others are being sent go out together."""
        self._waiting |= updates
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._waiting:
            updates, self._waiting = list(self._waiting), set()
            try:
                for start in range(0, len(updates), UPDATES_PER_MESSAGE):
                    some = _UPDATES.dump_python(updates[start : start + UPDATES_PER_MESSAGE], mode="json")
                    await self._relay.tell_all("updated", self._relay.address, some)
            except SharedStateUnavailable:
                if not self._is_lost:
                    _log.warning("watchers on other replicas are not told of updates: the bus cannot be reached")
                self._is_lost = True
            except Exception as defect:  # noqa: BLE001  # later updates must still be sent
                self._report("announcements", defect)
            else:
                self._is_lost = False

    def _hear(self, sender: str, updates: Any) -> None:
        if sender != self._relay.address:
            for update in _UPDATES.validate_python(updates, strict=False):
                self._heard(update)
