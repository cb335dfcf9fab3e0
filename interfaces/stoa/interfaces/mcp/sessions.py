"""Sessions of the handshake era: opened by `initialize`, bound to the caller, and what is going on in them: requests
that may be cancelled, and questions to the client that wait for an answer.

What a session agreed on is in a SessionStore; what is going on is in this process, as the connections are.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

from stoa.application.ports.session_store import SessionStore
from stoa.domain.dialogue import ClientCapabilities
from stoa.domain.identity import Principal, TenantId
from stoa.domain.operation import OperationKey
from stoa.domain.session import Session
from stoa.interfaces.mcp.messages import INVALID_REQUEST, Fault, RequestId, Response, notification
from stoa.interfaces.mcp.streams import STANDALONE, Streams

ASK_TIMEOUT_SECONDS = 300.0


class Running:
    """A request that its client may cancel."""

    __slots__ = ("is_cancelled", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.is_cancelled = False


class Sessions:
    """`ask_timeout_seconds`: how long a question to the client waits."""

    def __init__(
        self, store: SessionStore, streams: Streams, *, ask_timeout_seconds: float = ASK_TIMEOUT_SECONDS
    ) -> None:
        self.streams = streams
        self.ask_timeout_seconds = ask_timeout_seconds
        self._store = store
        self._running: dict[tuple[str, RequestId], Running] = {}
        self._questions: dict[tuple[str, RequestId], asyncio.Future[Response]] = {}

    async def begin(self, caller: Principal, revision: str, capabilities: ClientCapabilities) -> Session:
        """Raises SessionsFull."""
        session = Session(
            secrets.token_urlsafe(32),
            caller.identity_key,
            revision,
            capabilities,
            hears_only=caller.tenant,
            hears_all=caller.is_platform_admin,
        )
        await self._store.create(session)
        return session

    async def find(self, session_id: str, caller: Principal) -> Session:
        """Raises Fault: 404 means "initialize again" to every client, and a foreign session is not there."""
        session = await self._store.find(session_id)
        if session is None or session.identity_key != caller.identity_key:
            raise Fault(INVALID_REQUEST, "Session not found", http_status=404)
        return session

    async def change(self, session: Session) -> None:
        await self._store.replace(session)

    async def end(self, session: Session) -> None:
        await self._store.delete(session.id)
        await self.streams.end(session.id)

    async def announce(self, message: bytes, owner: TenantId | None) -> None:
        """Send a message about `owner` to the sessions that listen and may hear of it."""
        for session_id in self.streams.listening():
            session = await self._store.find(session_id)
            if session is not None and session.hears_of(owner):
                await self.streams.publish(session_id, STANDALONE, message)

    async def tell_watchers(self, is_told: Callable[[Principal, str, OperationKey], Awaitable[bool]]) -> None:
        """Send resources/updated to the sessions that listen, for what they watch and `is_told`."""
        for session_id, reader in self.streams.readers():
            session = await self._store.find(session_id)
            watched = () if session is None else session.watched
            for uri, key in sorted(watched, key=lambda entry: entry[0]):
                if await is_told(reader, uri, key):
                    message = notification("notifications/resources/updated", {"uri": uri})
                    await self.streams.publish(session_id, STANDALONE, message)

    @contextmanager
    def running(self, session: Session, request_id: RequestId, task: asyncio.Task[Any]) -> Generator[Running]:
        """While it lasts, `cancel` finds this request."""
        key = (session.id, request_id)
        running = Running(task)
        self._running.setdefault(key, running)
        try:
            yield running
        finally:
            if self._running.get(key) is running:
                del self._running[key]

    def cancel(self, session: Session, request_id: Any) -> None:
        """What is not running any more is left alone."""
        if isinstance(request_id, bool) or not isinstance(request_id, (str, int)):
            return
        running = self._running.get((session.id, request_id))
        if running is not None and not running.is_cancelled:
            running.is_cancelled = True
            running.task.cancel()

    @contextmanager
    def question(self, session: Session) -> Generator[tuple[str, asyncio.Future[Response]]]:
        """The id of a new request to the client, and its answer."""
        request_id = f"server-{secrets.token_hex(8)}"
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._questions[session.id, request_id] = future
        try:
            yield request_id, future
        finally:
            del self._questions[session.id, request_id]

    def answered(self, session: Session, response: Response) -> None:
        """An answer to nothing that was asked in this session is dropped."""
        if response.id is None:
            return
        future = self._questions.get((session.id, response.id))
        if future is not None and not future.done():
            future.set_result(response)
