"""Hands the calls of all replicas to the one that writes status."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pydantic_core

from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.application.concurrency.supervisor import Sleep
from stoa.application.ports.message_bus import MessageBus
from stoa.domain.errors import SharedStateUnavailable
from stoa.domain.origin import ObjectOrigin
from stoa.infrastructure.kubernetes.status.call_counts import CallCounts, Calls

SHARE_SECONDS = 20.0
_TOPIC = "kubernetes calls"


class SharedCounts:
    """Sends what this replica counted to the others while it is not the leader, and adds what they send while it is.

    A message that no leader hears, between two of them, is lost: these counts tell how much a tool is used, and the
    metering events are what is billed.
    """

    def __init__(
        self, counts: CallCounts, bus: MessageBus, is_leader: Callable[[], bool], *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._counts = counts
        self._bus = bus
        self._is_leader = is_leader
        self._sleep = sleep

    async def run(self) -> None:
        """Share until cancelled."""
        receiver = asyncio.create_task(self._receive())
        try:
            while not receiver.done():
                await self._sleep(SHARE_SECONDS)
                if not self._is_leader():
                    await self._send()
            receiver.result()
        finally:
            await cancel_and_wait(receiver)

    async def _send(self) -> None:
        pending = self._counts.all_pending()
        if not pending:
            return
        rows = [
            [origin.kind, origin.namespace, origin.name, calls.invocations, calls.errors]
            for origin, calls in pending.items()
        ]
        with suppress(SharedStateUnavailable):  # they stay pending
            await self._bus.publish(_TOPIC, pydantic_core.to_json(rows))
            for origin, calls in pending.items():
                self._counts.written(origin, calls)

    async def _receive(self) -> None:
        subscription = await self._bus.subscribe(_TOPIC)
        try:
            while True:
                message = await subscription.next()
                if message is not None and self._is_leader():
                    for kind, namespace, name, invocations, errors in pydantic_core.from_json(message):
                        self._counts.add(ObjectOrigin(kind, namespace, name), Calls(invocations, errors))
        finally:
            await subscription.close()
