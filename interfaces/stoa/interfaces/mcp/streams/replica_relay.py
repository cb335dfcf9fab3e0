"""Messages between replicas: a client's answer for a call that runs elsewhere, a cancellation, the end of a session,
and what programs announce.

A client's message may arrive at any replica. An answer goes over the message bus to the replica that sent the client
request, which the request's id names; everything else is rare and goes to all replicas.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import pydantic_core

from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.message_bus import MessageBus, Subscription
from stoa.domain.errors import SharedStateUnavailable

_log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
_CLIENT_REQUEST_ID = re.compile(r"server-([0-9a-f]{16})-[0-9a-f]{16}")

Handlers = Mapping[str, Callable[..., None]]
"""The function for each kind of message, called with its values."""


class ReplicaRelay:
    """Sends messages to the relays of other replicas and calls `handlers` with those that arrive while it is open.
    `topic`: which relays `tell_all` reaches; all of one topic must know the same kinds of messages."""

    def __init__(
        self, bus: MessageBus, handlers: Handlers, topic: str = "replicas", *, report: ReportDefect = log_defect
    ) -> None:
        self._bus = bus
        self._report = report
        self._handlers = handlers
        self._topic = topic
        self.address = secrets.token_hex(8)
        """Names this relay among all."""
        self._hearing: asyncio.Task[None] | None = None

    def new_client_request_id(self) -> str:
        """An id for a client request: it names this relay and cannot be guessed."""
        return f"server-{self.address}-{secrets.token_hex(8)}"

    async def tell_requester(self, client_request_id: str, kind: str, *values: Any) -> None:
        """Send a message to the replica that made the id; to none when no replica did. Raises
        SharedStateUnavailable."""
        named = _CLIENT_REQUEST_ID.fullmatch(client_request_id)
        if named is not None and named[1] != self.address:
            await self._bus.publish(f"replica:{named[1]}", pydantic_core.to_json([kind, *values]))

    async def tell_all(self, kind: str, *values: Any) -> None:
        """Send a message to all replicas, this one too while it is open. Raises SharedStateUnavailable."""
        await self._bus.publish(self._topic, pydantic_core.to_json([kind, *values]))

    async def open(self) -> None:
        """Receive messages until `close`. A bus that cannot be reached is tried every RETRY_SECONDS."""
        self._hearing = asyncio.create_task(self._hear(await self._subscribe()))

    async def close(self) -> None:
        if self._hearing is not None:
            await cancel_and_wait(self._hearing)
            self._hearing = None

    async def _subscribe(self) -> Subscription | None:
        try:
            return await self._bus.subscribe(self._topic, f"replica:{self.address}")
        except SharedStateUnavailable:
            return None

    async def _hear(self, subscription: Subscription | None) -> None:
        while True:
            try:
                while subscription is None:
                    await asyncio.sleep(RETRY_SECONDS)
                    subscription = await self._subscribe()
                await self._take_all(subscription)
            except Exception as defect:  # noqa: BLE001  # else this replica would be deaf for good
                self._report("messages of other replicas", defect)
                subscription = None

    async def _take_all(self, subscription: Subscription) -> None:
        try:
            while True:
                message = await subscription.next()
                if message is None:
                    # Streams look up for themselves what they missed. An answer that was lost is as one that never
                    # came: its call ends when its time is over.
                    _log.warning("messages of other replicas may be lost: the connection between them was")
                else:
                    self._take(message)
        finally:
            await subscription.close()

    def _take(self, message: bytes) -> None:
        try:
            kind, *values = pydantic_core.from_json(message)
            self._handlers[kind](*values)
        except (ValueError, TypeError, KeyError):  # of another version of the gateway, as while replicas are exchanged
            _log.warning("a message of another replica is not understood")
        except Exception as defect:  # noqa: BLE001  # one message must not cost those that wait behind it
            self._report("messages of other replicas", defect)
