"""Telling clients that a list changed: on the standalone streams of sessions, and on `subscriptions/listen` streams of
the stateless era (2026-07-28, "Subscriptions").

Bursts are folded into one message, half a second after the first change.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pydantic_core

from stoa.application.ports.clock import Clock
from stoa.domain.identity import Principal, TenantId
from stoa.domain.json_value import JsonObject, is_object
from stoa.interfaces.mcp.exchange import Reply
from stoa.interfaces.mcp.feeds import Feed, frame
from stoa.interfaces.mcp.messages import INVALID_PARAMS, Fault, Request, RequestId, notification
from stoa.interfaces.mcp.shaping import SERVER_INFO_KEY

SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"
DEBOUNCE_SECONDS = 0.5
MAX_LISTENERS = 1024

Announce = Callable[[bytes, TenantId | None], Coroutine[Any, Any, None]]


class Subscriptions:
    """`kinds`: the lists that can change here, `tools`, `prompts` or `resources`. `announce` reaches the sessions."""

    def __init__(
        self,
        kinds: tuple[str, ...],
        server_info: JsonObject,
        clock: Clock,
        announce: Announce | None = None,
        *,
        debounce_seconds: float = DEBOUNCE_SECONDS,
    ) -> None:
        self._kinds = kinds
        self._server_info = server_info
        self._clock = clock
        self._announce = announce
        self._debounce_seconds = debounce_seconds
        self._listeners: dict[Feed, tuple[RequestId, frozenset[str], Principal]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: set[tuple[str, TenantId | None]] = set()
        self._telling: set[asyncio.Task[None]] = set()

    def attend(self) -> None:
        """From now on there is somebody to tell, in this event loop."""
        self._loop = asyncio.get_running_loop()

    def publish(self, kind: str, owner: TenantId | None) -> None:
        """The list of a tenant, or of all (None), has changed. May be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._schedule, kind, owner)

    def soon(self, telling: Coroutine[Any, Any, None]) -> None:
        """Run this in the event loop, when there is somebody to tell. May be called from any thread."""
        if self._loop is None or self._loop.is_closed():
            telling.close()
        else:
            self._loop.call_soon_threadsafe(self._keep, telling)

    def _keep(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(telling)
        self._telling.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._telling.discard)

    def _schedule(self, kind: str, owner: TenantId | None) -> None:
        if (kind, owner) not in self._due and self._loop is not None:
            self._due.add((kind, owner))
            self._loop.call_later(self._debounce_seconds, self._tell, kind, owner)

    def _tell(self, kind: str, owner: TenantId | None) -> None:
        self._due.discard((kind, owner))
        method = f"notifications/{kind}/list_changed"
        for feed, (request_id, wanted, caller) in list(self._listeners.items()):
            if kind in wanted and caller.hears_of(owner):
                params: JsonObject = {"_meta": {SUBSCRIPTION_KEY: request_id}}
                if not feed.push(frame(notification(method, params))):
                    self._end(feed)  # it missed something: it has to list and listen again
        if self._announce is not None:
            self._keep(self._announce(pydantic_core.to_json({"jsonrpc": "2.0", "method": method}), owner))

    def listen(self, request: Request, caller: Principal) -> Reply:
        """The stream that answers `subscriptions/listen`; the acknowledgement is on it first. It ends when the caller's
        token does."""
        asked = request.params.get("notifications")
        if not is_object(asked):
            raise Fault(INVALID_PARAMS, "params.notifications must be an object")
        if len(self._listeners) >= MAX_LISTENERS:
            raise Fault(5030, "The server has as many listeners as it can serve", http_status=503)
        wanted = frozenset(kind for kind in self._kinds if asked.get(f"{kind}ListChanged") is True)
        feed = Feed(self._forget)
        self.attend()
        self._listeners[feed] = (request.id, wanted, caller)
        params: JsonObject = {
            "_meta": {SUBSCRIPTION_KEY: request.id},
            "notifications": {f"{kind}ListChanged": True for kind in self._kinds if kind in wanted},
        }
        feed.push(frame(notification("notifications/subscriptions/acknowledged", params)))
        if caller.expires_at is not None and self._loop is not None:
            left: timedelta = caller.expires_at - self._clock.now()
            self._loop.call_later(max(0.0, left.total_seconds()), self._end, feed)
        return Reply(200, feed=feed)

    def _forget(self, feed: Feed) -> None:
        self._listeners.pop(feed, None)

    def _end(self, feed: Feed) -> None:
        known = self._listeners.pop(feed, None)
        if known is not None:
            meta: JsonObject = {SUBSCRIPTION_KEY: known[0], SERVER_INFO_KEY: self._server_info}
            result: JsonObject = {"resultType": "complete", "_meta": meta}
            feed.end(frame(pydantic_core.to_json({"jsonrpc": "2.0", "id": known[0], "result": result})))
