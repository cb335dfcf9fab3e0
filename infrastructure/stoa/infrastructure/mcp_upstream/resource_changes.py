"""Changes of single resources of a server, followed for one caller, all over one stream."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence

from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.domain.client_requests.client_request import NO_CAPABILITIES
from stoa.domain.errors import BackendProtocolError, StoaError
from stoa.infrastructure.mcp_upstream.messages import UpstreamFault
from stoa.infrastructure.mcp_upstream.session import Access, Call, Session, SessionGone
from stoa.infrastructure.mcp_upstream.upstreams import Owner, Upstream

FIRST_DELAY_SECONDS = 1.0
LAST_DELAY_SECONDS = 60.0

Changed = Callable[[], None]


class ResourceChanges:
    """Belongs to one event loop. The server is asked by the one caller's own session."""

    def __init__(self, upstream: Upstream, owner: Owner, access: Access, whose: str) -> None:
        self._upstream = upstream
        self._owner = owner
        self._access = access
        self._whose = whose
        self._wanted: defaultdict[str, list[Changed]] = defaultdict(list)
        """By the server's URI."""
        self._others_wanted = asyncio.Event()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        return not self._wanted

    async def follow(self, uri: str, changed: Changed) -> None:
        """Call `changed` after each change, and after each time that one may have been missed, until cancelled. Returns
        if the server tells of no changes."""
        self._wanted[uri].append(changed)
        self._others_wanted.set()
        if self._task is None:
            self._ended = asyncio.Event()
            self._task = asyncio.create_task(self._run(self._ended), name="follow resources of an upstream MCP server")
        ended = self._ended
        try:
            await ended.wait()
        finally:
            self._wanted[uri].remove(changed)
            if not self._wanted[uri]:
                del self._wanted[uri]
            self._others_wanted.set()
            if not self._wanted:
                await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def _run(self, ended: asyncio.Event) -> None:
        delay = FIRST_DELAY_SECONDS
        followed: list[str] = []
        try:
            while True:
                self._others_wanted.clear()
                earlier, followed = followed, [*self._wanted]
                try:
                    await self._connected(followed, earlier)
                    delay = FIRST_DELAY_SECONDS
                    continue  # others are wanted now
                except (UpstreamFault, BackendProtocolError):
                    return  # it has no such stream, or does not let this caller subscribe
                except (StoaError, SessionGone, OSError):
                    await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_DELAY_SECONDS)
        finally:
            ended.set()

    async def _connected(self, uris: list[str], earlier: list[str]) -> None:
        """Returns when others than `uris` are wanted. Changes of `earlier` may have been missed. Raises as
        Session.watch does, and BackendProtocolError for a server that tells of no changes."""
        async with self._upstream.session(self._owner, NO_CAPABILITIES, self._access, self._whose) as session:
            if not session.peer.tells_of_resources:
                raise BackendProtocolError(f"The back end of {self._whose} tells of no changes of resources")
            established = asyncio.Event()
            session.resource_listeners.append(self._tell)
            watching = asyncio.create_task(session.watch(self._access, established.set, uris))
            wanted = asyncio.create_task(self._others_wanted.wait())
            try:
                await _either(watching, asyncio.create_task(established.wait()))
                if not session.peer.is_stateless:
                    await self._subscribe(session, "resources/subscribe", uris)
                for uri in earlier:
                    self._tell(uri)
                await _either(watching, wanted)
            except SessionGone:
                self._upstream.forget(session)
                raise
            finally:
                session.resource_listeners.remove(self._tell)
                await cancel_and_wait(watching, wanted)
                if not session.peer.is_stateless and not session.is_closed:
                    with contextlib.suppress(UpstreamFault, SessionGone, StoaError, OSError):
                        await self._subscribe(session, "resources/unsubscribe", set(uris) - {*self._wanted})

    async def _subscribe(self, session: Session, method: str, uris: Sequence[str] | set[str]) -> None:
        for uri in uris:
            await session.request(method, {"uri": uri}, Call(access=self._access))

    def _tell(self, uri: str) -> None:
        """`uri` may be a part of the resource that was subscribed to (MCP "Resources", Subscriptions)."""
        for wanted, listeners in [*self._wanted.items()]:
            if uri == wanted or uri.startswith(f"{wanted.rstrip('/')}/"):
                for changed in [*listeners]:
                    changed()


async def _either(watching: asyncio.Task[None], other: asyncio.Task[bool]) -> None:
    """Returns when the other is done. Raises what ended the watching; ConnectionResetError if nothing did."""
    try:
        await asyncio.wait({watching, other}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
            raise ConnectionResetError("the stream ended")
    finally:
        other.cancel()
