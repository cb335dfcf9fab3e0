"""Sessions of the handshake era: opened by `initialize`, bound to their caller, with the requests that run in them and
the client requests that wait for an answer.

What a session agreed on is in a SessionStore, which replicas may share. What runs in it is in this process, as the
connections are: a message may reach another replica than the one it is meant for, which passes it on (`ReplicaRelay`).
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

from stoa.application.ports.session_store import Change, SessionStore
from stoa.domain.access.fair_share import Caps, FairShares, NoRoom
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.domain.errors import SharedStateUnavailable
from stoa.domain.operations.operation import OperationKey
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_REQUEST, Fault, RequestId, Response, notification
from stoa.interfaces.mcp.streams.event_queue import EventQueue
from stoa.interfaces.mcp.streams.replica_relay import Handlers, ReplicaRelay
from stoa.interfaces.mcp.streams.session_ids import SealedSessionIds
from stoa.interfaces.mcp.streams.streams import STANDALONE, Streams

_log = logging.getLogger(__name__)

ASK_TIMEOUT_SECONDS = 300.0
REMEMBERED = Caps(per_caller=1000, per_tenant=5000, total=10_000)
"""Ended sessions that are remembered, so that their sealed ids do not begin them anew: as many as there may be at
once."""
MAX_RELAYED_ID = 256
"""Characters of a request id whose cancellation is passed on: every replica gets it."""


class RunningRequest:
    """A request that its client may cancel, with the task that answers it."""

    __slots__ = ("is_cancelled", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.is_cancelled = False


class Sessions:
    """The sessions of this endpoint. Replicas share them when their stores and the bus of their `streams` are shared,
    and `open` was called.

    `ask_timeout_seconds`: how long a client request waits for its answer. `sealed_ids`: with them a session that the
    store has forgotten begins anew with what its id says, unless it was ended here (docs/decisions/0043). Methods that
    ask the store or the bus raise SharedStateUnavailable when it cannot be reached."""

    def __init__(
        self,
        store: SessionStore,
        streams: Streams,
        *,
        ask_timeout_seconds: float = ASK_TIMEOUT_SECONDS,
        sealed_ids: SealedSessionIds | None = None,
    ) -> None:
        self.streams = streams
        self.ask_timeout_seconds = ask_timeout_seconds
        self._store = store
        self._sealed_ids = sealed_ids
        self._ended: FairShares[str] = FairShares(REMEMBERED)
        self._running: dict[tuple[str, RequestId], RunningRequest] = {}
        self._client_requests: dict[tuple[str, RequestId], asyncio.Future[Response]] = {}
        handlers: Handlers = {
            "answered": self._answered,
            "cancelled": self._cancelled,
            "ended": streams.end_here,
            "followed": streams.mark_back,
            "watched": self._watched,
        }
        self.on_watch: Callable[[str], None] = lambda _: None
        """Called with the id of a session, on each replica, when it watches other resources than before."""
        self._relay = ReplicaRelay(streams.bus, handlers, report=streams.report)

    async def open(self) -> None:
        """Receive what other replicas pass on, until `close`. A single process does not need it."""
        await self._relay.open()

    async def close(self) -> None:
        await self._relay.close()

    async def begin(self, caller: Principal, revision: str, capabilities: ClientCapabilities) -> Session:
        """A new session of the caller. Raises SessionsFull."""
        sealed = self._sealed_ids
        session = Session(
            secrets.token_urlsafe(32) if sealed is None else sealed.new_id(caller, revision, capabilities),
            caller.identity_key,
            revision,
            capabilities,
            hears_only=caller.tenant,
            hears_all=caller.is_platform_admin,
        )
        await self._store.create(session)
        return session

    async def find(self, session_id: str, caller: Principal) -> Session:
        """The caller's session of this id. Raises Fault with 404, which tells a client to initialize again, for an
        unknown session and for another caller's alike. Raises SessionsFull for one that could begin anew but has no
        room."""
        session = await self._store.find(session_id)
        if session is None and self._sealed_ids is not None and session_id not in self._ended:
            session = self._sealed_ids.session(session_id, caller)
            if session is not None:
                await self._store.create(session)
        if session is None or session.identity_key != caller.identity_key:
            raise Fault(INVALID_REQUEST, "Session not found", http_status=404, reason=RefusalReason.UNKNOWN_SESSION)
        return session

    async def change(self, session: Session, change: Change) -> None:
        """Replace the session by what `change` makes of it, atomically: `change` gets the stored session."""
        await self._store.update(session.id, change)

    async def watch(self, session: Session, change: Change) -> None:
        """As `change`, of the resources that the session watches: its stream may be open on another replica."""
        await self.change(session, change)
        self.on_watch(session.id)
        await self._relay.tell_all("watched", session.id)

    def _watched(self, session_id: str) -> None:
        self.on_watch(session_id)

    async def watched(self, session_id: str) -> list[tuple[Principal, str, OperationKey]]:
        """The resources that the session watches, with its reader, if its stream is open here."""
        reader = dict(self.streams.readers()).get(session_id)
        session = None if reader is None else await self._listener(session_id)
        if reader is None or session is None:
            return []
        return [(reader, uri, key) for uri, key in session.watched]

    async def end(self, session: Session) -> None:
        """End the session on every replica."""
        with suppress(NoRoom):
            self._ended.put(session.id, session.holder)
        await self._store.delete(session.id)
        await self.streams.end(session.id)
        await self._relay.tell_all("ended", session.id)

    async def follow(self, session: Session, last_event_id: str | None, caller: Principal | None = None) -> EventQueue:
        """Opens a stream like `Streams.follow`. An open stream counts as use of the session."""

        async def is_alive() -> bool:
            return await self._store.find(session.id) is not None  # looking it up renews it

        queue = await self.streams.follow(session, last_event_id, is_alive, caller)
        await self._relay.tell_all("followed", session.id)
        return queue

    async def announce(self, message: bytes, owner: TenantId | None) -> None:
        """Send a message about the catalogue of `owner` (None: of all tenants) to the sessions that listen here and may
        hear of it."""
        for session_id in self.streams.listening():
            session = await self._listener(session_id)
            if session is not None and session.hears_of(owner):
                await self._tell(session, message)

    async def tell_watchers(self, is_told: Callable[[Principal, str, OperationKey], Awaitable[bool]]) -> None:
        """Send resources/updated to the sessions that listen here, for each watched resource that `is_told` allows."""
        for session_id, reader in self.streams.readers():
            session = await self._listener(session_id)
            if session is None:
                continue
            for uri, key in sorted(session.watched, key=lambda entry: entry[0]):
                if await is_told(reader, uri, key):
                    await self._tell(session, notification("notifications/resources/updated", {"uri": uri}))

    async def _listener(self, session_id: str) -> Session | None:
        try:
            return await self._store.find(session_id)
        except SharedStateUnavailable:
            _log.warning("a session cannot be told of a change: what the replicas share cannot be reached")
            return None

    async def _tell(self, session: Session, message: bytes) -> None:
        try:
            await self.streams.publish(session.id, STANDALONE, message, holder=session.holder)
        except SharedStateUnavailable:
            _log.warning("a session cannot be told of a change: what the replicas share cannot be reached")

    @contextmanager
    def cancellable(
        self, session: Session, request_id: RequestId, task: asyncio.Task[Any]
    ) -> Generator[RunningRequest]:
        """While the context lasts, `cancel` finds this request."""
        key = (session.id, request_id)
        running = RunningRequest(task)
        self._running.setdefault(key, running)
        try:
            yield running
        finally:
            if self._running.get(key) is running:
                del self._running[key]

    async def cancel(self, session: Session, request_id: Any) -> None:
        """Cancel a running request, on whichever replica it runs. Does nothing for one that is over."""
        if isinstance(request_id, bool) or not isinstance(request_id, (str, int)):
            return
        if (session.id, request_id) in self._running:
            self._cancelled(session.id, request_id)
        elif len(str(request_id)) <= MAX_RELAYED_ID:
            await self._relay.tell_all("cancelled", session.id, request_id)

    def _cancelled(self, session_id: str, request_id: RequestId) -> None:
        running = self._running.get((session_id, request_id))
        if running is not None and not running.is_cancelled:
            running.is_cancelled = True
            running.task.cancel()

    @contextmanager
    def client_request(self, session: Session) -> Generator[tuple[str, asyncio.Future[Response]]]:
        """The id of a new client request, and the future of its answer."""
        request_id = self._relay.new_client_request_id()
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._client_requests[session.id, request_id] = future
        try:
            yield request_id, future
        finally:
            del self._client_requests[session.id, request_id]

    async def answered(self, session: Session, response: Response) -> None:
        """Settle the client request that this response answers, on whichever replica it waits. Drops an answer to
        anything that was not requested in this session."""
        if response.id is None:
            return
        if (session.id, response.id) in self._client_requests:
            self._answered(session.id, response.id, response.result)
        elif isinstance(response.id, str):
            await self._relay.tell_requester(response.id, "answered", session.id, response.id, response.result)

    def _answered(self, session_id: str, client_request_id: RequestId, result: Any) -> None:
        future = self._client_requests.get((session_id, client_request_id))
        if future is not None and not future.done():
            future.set_result(Response(client_request_id, result))
