"""Notifications that a list or a resource changed: on the standalone streams of sessions, and on the
`subscriptions/listen` streams of the stateless era (2026-07-28, "Subscriptions").

Bursts are folded: changes within half a second are notified once, at its end, and updates that programs announced are
passed on to the other replicas at the same moment.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pydantic_core

from stoa.application.catalogue.follow_resources import WatchedResource
from stoa.application.catalogue.watch_resources import ResourceUpdate, Updates, WatchResources
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.clock import Clock
from stoa.application.ports.message_bus import MessageBus
from stoa.domain.access.fair_share import Bound, Caps, FairShares, Holder, NoRoom
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.session import MAX_WATCHED_RESOURCES
from stoa.domain.errors import StoaError
from stoa.domain.operations.catalogue import CatalogueDiff
from stoa.domain.operations.operation import Kind, OperationKey
from stoa.domain.schema.json_value import JsonObject, is_array, is_object
from stoa.interfaces.mcp.exchange import MethodCall, Reply
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, Fault, RequestId, notification
from stoa.interfaces.mcp.streams.announcements import Announcements
from stoa.interfaces.mcp.streams.event_queue import Event, EventQueue
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.wire.revisions import SERVER_INFO_KEY

_log = logging.getLogger(__name__)

SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"
DEBOUNCE_SECONDS = 0.5
SWEEP_SECONDS = 60.0
LISTENERS = Caps(per_caller=64, per_tenant=1024, total=1536)
"""Listen streams that are open at once."""
_LISTS: dict[Kind, str] = {"tool": "tools", "resource": "resources", "prompt": "prompts"}
"""The protocol's name for the list of each kind."""


@dataclass(frozen=True, slots=True)
class _Listener:
    request_id: RequestId
    kinds: frozenset[str]
    watched: Mapping[str, OperationKey]
    """The resource that each URI named when the stream began."""
    caller: Principal


class Subscriptions:
    """Keeps the listen streams, and notifies them and the sessions of changes in the catalogue and in resources. `bus`:
    on which replicas pass on what programs announce, once this is `open`."""

    def __init__(
        self,
        server_info: JsonObject,
        clock: Clock,
        watch: WatchResources,
        sessions: Sessions | None = None,
        *,
        bus: MessageBus | None = None,
        debounce_seconds: float = DEBOUNCE_SECONDS,
        report: ReportDefect = log_defect,
    ) -> None:
        self._report = report
        self._server_info = server_info
        self._clock = clock
        self._watch = watch
        self._sessions = sessions
        self._debounce_seconds = debounce_seconds
        self._listeners: dict[EventQueue, _Listener] = {}
        self._shares: FairShares[EventQueue] = FairShares(LISTENERS, evicts_own=False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: set[tuple[str, TenantId | None]] = set()
        self._due_updates: set[ResourceUpdate] = set()
        self._announcements = None if bus is None else Announcements(bus, self._schedule_update, report=report)
        self._due_elsewhere: set[ResourceUpdate] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        if sessions is not None:
            sessions.on_watch = lambda session_id: self._keep(self.follow_session(session_id))

    async def open(self) -> None:
        """Exchange announcements with the other replicas until `close`."""
        if self._announcements is not None:
            self.attend()
            await self._announcements.open()

    async def close(self) -> None:
        """Pass on what was announced here, and receive no more."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._announcements is not None:
            self._pass_on()
            await self._announcements.close()

    def attend(self) -> None:
        """Notify from now on, in the running event loop. Before the first listener there is nothing to schedule."""
        self._loop = asyncio.get_running_loop()

    def publish_changes(self, diff: CatalogueDiff) -> None:
        """Notify of the lists that a change of the catalogue concerns. Thread-safe."""
        for kind, owner in diff.lists:
            self._in_loop(self._schedule, _LISTS[kind], owner)

    def publish_update(self, update: ResourceUpdate) -> None:
        """Notify of changed contents of a resource. Thread-safe."""
        self._in_loop(self._schedule_own_update, update)

    def _in_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and so are all streams
                self._loop.call_soon_threadsafe(function, *arguments)

    def _keep(self, telling: Coroutine[Any, Any, None]) -> None:
        async def tell() -> None:
            try:
                await telling
            except Exception as defect:  # noqa: BLE001  # later changes must still be notified
                self._report("notifications", defect)

        task = asyncio.create_task(tell())
        self._telling.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._telling.discard)

    def _schedule(self, kind: str, owner: TenantId | None) -> None:
        if (kind, owner) not in self._due and self._loop is not None:
            self._due.add((kind, owner))
            self._loop.call_later(self._debounce_seconds, self._tell, kind, owner)

    def _schedule_own_update(self, update: ResourceUpdate) -> None:
        if update.is_announced and self._announcements is not None:
            self._due_elsewhere.add(update)
        self._schedule_update(update)

    def _schedule_update(self, update: ResourceUpdate) -> None:
        if not self._due_updates and self._loop is not None:
            self._loop.call_later(self._debounce_seconds, self._tell_updates)
        self._due_updates.add(update)

    def _tell(self, kind: str, owner: TenantId | None) -> None:
        self._due.discard((kind, owner))
        method = f"notifications/{kind}/list_changed"
        for queue, listener in list(self._listeners.items()):
            if kind in listener.kinds and listener.caller.hears_of(owner):
                self._push(queue, listener, method, {})
        if self._sessions is not None and self._sessions.streams.listening():
            message = pydantic_core.to_json({"jsonrpc": "2.0", "method": method})
            self._keep(self._sessions.announce(message, owner))

    def _tell_updates(self) -> None:
        updates, self._due_updates = Updates(self._due_updates), set()
        self._keep(self._tell_watchers(updates))
        self._pass_on()

    def _pass_on(self) -> None:
        if self._announcements is not None and self._due_elsewhere:
            updates, self._due_elsewhere = self._due_elsewhere, set()
            self._announcements.pass_on(updates)

    async def _tell_watchers(self, updates: Updates) -> None:
        async def is_told(caller: Principal, uri: str, watched: OperationKey) -> bool:
            try:
                return await self._watch.concerns(updates, caller, uri, watched, "mcp")
            except StoaError as error:  # whether it may still read is not known, so it gets nothing
                _log.warning("a watcher was not told of a change: %s", error.message)
                return False

        for queue, listener in list(self._listeners.items()):
            for uri, watched in listener.watched.items():
                if await is_told(listener.caller, uri, watched):
                    self._push(queue, listener, "notifications/resources/updated", {"uri": uri})
        if self._sessions is not None:
            await self._sessions.tell_watchers(is_told)

    def _push(self, queue: EventQueue, listener: _Listener, method: str, params: JsonObject) -> None:
        tagged: JsonObject = {"_meta": {SUBSCRIPTION_KEY: listener.request_id}, **params}
        if not queue.push(Event(notification(method, tagged))):
            self._end(queue)  # a notification was lost: its client has to list and listen again

    def is_open(self, queue: EventQueue) -> bool:
        return queue in self._listeners

    def tell(self, queue: EventQueue, method: str, params: JsonObject) -> None:
        """Send a notification to one listener, if its stream is still open."""
        listener = self._listeners.get(queue)
        if listener is not None:
            self._push(queue, listener, method, params)

    async def listen(self, call: MethodCall, task_ids: tuple[str, ...] = ()) -> Reply:
        """Open the stream that answers `subscriptions/listen`. Its first message is the acknowledgement. It ends when
        the caller's token expires. `task_ids`: the tasks whose notifications will come through `tell`."""
        request, caller = call.request, call.caller
        requested = request.params.get("notifications")
        if not is_object(requested):
            raise Fault(INVALID_PARAMS, "params.notifications must be an object")
        wanted = frozenset(kind for kind in _LISTS.values() if requested.get(f"{kind}ListChanged") is True)
        watched = await self._watchable(call, _uris(requested.get("resourceSubscriptions", [])))
        queue = EventQueue(self._forget)
        self._take_place(queue, caller)
        self.attend()
        self._listeners[queue] = _Listener(request.id, wanted, watched, caller)
        self._watch.following.replace(queue, [WatchedResource(caller, uri, key) for uri, key in watched.items()])
        honoured: JsonObject = {f"{kind}ListChanged": True for kind in _LISTS.values() if kind in wanted}
        if watched:
            honoured["resourceSubscriptions"] = list(watched)
        if task_ids:
            honoured["taskIds"] = list(task_ids)
        params: JsonObject = {"_meta": {SUBSCRIPTION_KEY: request.id}, "notifications": honoured}
        queue.push(Event(notification("notifications/subscriptions/acknowledged", params)))
        if caller.expires_at is not None:
            left = caller.expires_at - self._clock.now()
            queue.end_after(left.total_seconds(), lambda: self._end(queue))
        return Reply(200, events=queue)

    async def follow_session(self, session_id: str) -> None:
        """Have the back ends tell of changes of what the session watches, while its stream is open here."""
        if self._sessions is None:
            return
        watched = [WatchedResource(*entry) for entry in await self._sessions.watched(session_id)]
        self._watch.following.replace(session_id, watched)
        if self._sweep is None and watched:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._forget_sessions)

    def _forget_sessions(self) -> None:
        """Sessions whose stream is not open here any more watch nothing."""
        self._sweep = None
        followed = {watcher for watcher in self._watch.following.watchers if isinstance(watcher, str)}
        present: set[str] = (
            set() if self._sessions is None else {session_id for session_id, _ in self._sessions.streams.readers()}
        )
        for session_id in followed - present:
            self._watch.following.replace(session_id, ())
        if followed & present:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._forget_sessions)

    async def _watchable(self, call: MethodCall, uris: Iterable[str]) -> dict[str, OperationKey]:
        """The resources that the caller may read, by URI. Unknown and forbidden ones are left out alike."""
        keys = {uri: await self._watch.watchable(call.caller, call.exchange.tenant, uri, "mcp") for uri in uris}
        return {uri: key for uri, key in keys.items() if key is not None}

    def _take_place(self, queue: EventQueue, caller: Principal) -> None:
        """Raises Fault when the caller or its tenant has as many streams as it may have. When the server has no more,
        the tenant that holds most loses its oldest stream, whose client has to list and listen again."""
        try:
            displaced = self._shares.put(queue, Holder(caller.tenant, caller.identity_key))
        except NoRoom as full:
            if full.bound is Bound.ALL:
                everything = "The server has as many listeners as it can serve"
                raise Fault(5030, everything, http_status=503, reason=RefusalReason.STREAM_LIMIT) from full
            most = LISTENERS.per_caller if full.bound is Bound.CALLER else LISTENERS.per_tenant
            wants = f"A {full.bound} has at most {most} listen streams"
            raise Fault(4290, wants, http_status=429, reason=RefusalReason.STREAM_LIMIT) from full
        for other in displaced:
            self._end(other)

    def end_all(self) -> None:
        """End every listen stream with its result, upon which clients listen anew."""
        for queue in list(self._listeners):
            self._end(queue)

    def _forget(self, queue: EventQueue) -> None:
        self._listeners.pop(queue, None)
        self._watch.following.replace(queue, ())
        self._shares.remove(queue)

    def _end(self, queue: EventQueue) -> None:
        listener = self._listeners.pop(queue, None)
        self._watch.following.replace(queue, ())
        self._shares.remove(queue)
        if listener is not None:
            meta: JsonObject = {SUBSCRIPTION_KEY: listener.request_id, SERVER_INFO_KEY: self._server_info}
            result: JsonObject = {"resultType": "complete", "_meta": meta}
            queue.end(Event(messages.result(listener.request_id, result)))


def _uris(requested: Any) -> list[str]:
    """The URIs without repetitions, in their order. Raises Fault."""
    if not is_array(requested) or len(requested) > MAX_WATCHED_RESOURCES:
        most = MAX_WATCHED_RESOURCES
        raise Fault(INVALID_PARAMS, f"notifications.resourceSubscriptions must be a list of at most {most} URIs")
    uris = [uri for uri in requested if isinstance(uri, str)]
    if len(uris) < len(requested):
        raise Fault(INVALID_PARAMS, "notifications.resourceSubscriptions: each URI must be a string")
    return list(dict.fromkeys(uris))
