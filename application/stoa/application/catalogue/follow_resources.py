"""Follows the resources that callers watch at the back ends that tell of changes, as long as they are watched."""

import asyncio
import logging
from collections.abc import Callable, Collection, Hashable, Iterable
from contextlib import suppress
from typing import NamedTuple

from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.application.ports.tool_backend import Announcing
from stoa.domain.access.fair_share import Caps, FairShares, Holder, NoRoom
from stoa.domain.access.identity import Principal
from stoa.domain.errors import StoaError
from stoa.domain.operations.catalogue import CatalogueDiff
from stoa.domain.operations.operation import OperationKey
from stoa.domain.operations.resource import Resource

FOLLOWED = Caps(per_caller=100, per_tenant=500, total=1000)
"""Resources that are followed at once, each once for all watchers of one caller."""
_log = logging.getLogger(__name__)


class WatchedResource(NamedTuple):
    """A URI that one caller watches, and the resource that it named when watching began."""

    caller: Principal
    uri: str
    key: OperationKey

    @property
    def identity(self) -> Hashable:
        return self.caller.identity_key, self.caller.tenant, self.uri, self.key


Changed = Callable[[WatchedResource], None]


class FollowResources:
    """Belongs to one event loop. A watcher is a stream or a session."""

    def __init__(self, registry: OperationRegistry) -> None:
        self._registry = registry
        self._watched: dict[Hashable, dict[Hashable, WatchedResource]] = {}
        """By watcher, then by identity."""
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._shares: FairShares[Hashable] = FairShares(FOLLOWED, evicts_own=False)
        self._ending: set[asyncio.Task[None]] = set()
        self._changed: Changed = lambda _: None
        self._loop: asyncio.AbstractEventLoop | None = None
        registry.subscribe(self._replaced)

    @property
    def watchers(self) -> tuple[Hashable, ...]:
        return tuple(self._watched)

    def subscribe(self, changed: Changed) -> None:
        """Call `changed` after each change, for the caller who watches alone."""
        self._changed = changed

    def replace(self, watcher: Hashable, watched: Iterable[WatchedResource]) -> None:
        """From now on this watcher watches these, and nothing else."""
        now = {each.identity: each for each in watched if self._announcing(each) is not None}
        if now:
            self._watched[watcher] = now
        else:
            self._watched.pop(watcher, None)
        self._follow()

    async def close(self) -> None:
        """Nothing is watched any more."""
        self._watched.clear()
        for identity in [*self._tasks]:
            self._end(identity)
        await cancel_and_wait(*self._ending)

    def _follow(self) -> None:
        wanted = {identity: each for entry in self._watched.values() for identity, each in entry.items()}
        for identity in [identity for identity in self._tasks if identity not in wanted]:
            self._end(identity)
        for identity, each in wanted.items():
            if identity not in self._tasks and self._takes_place(identity, each.caller):
                self._loop = asyncio.get_running_loop()
                self._tasks[identity] = asyncio.create_task(self._run(each), name=f"follow {each.key}")

    def _takes_place(self, identity: Hashable, caller: Principal) -> bool:
        try:
            displaced = self._shares.put(identity, Holder(caller.tenant, caller.identity_key))
        except NoRoom:
            return False
        for other in displaced:
            self._end(other)
        return True

    async def _run(self, watched: WatchedResource) -> None:
        compiled = self._registry.compiled(watched.key)
        call = self._announcing(watched)
        viewer = watched.caller.acting_for(watched.key.tenant)
        if compiled is None or call is None or viewer is None:
            return
        operation = compiled.operation
        arguments = (operation.match(watched.uri) or {}) if isinstance(operation, Resource) else {}
        try:
            bind = compiled.bind_upstream
            upstream = None if bind is None else bind(viewer, None)
            await call.follow(arguments, watched.caller, upstream, lambda: self._changed(watched))
        except StoaError as problem:  # a token of the caller is needed, for example; the client reads when it likes
            _log.info("changes of %s are not followed: %s", watched.key, problem.message)

    def _announcing(self, watched: WatchedResource) -> Announcing | None:
        compiled = self._registry.compiled(watched.key)
        call = None if compiled is None else compiled.backend_call
        return call if isinstance(call, Announcing) else None

    def _replaced(self, diff: CatalogueDiff) -> None:
        """Another version of a resource may be read elsewhere. May be called from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._begin_again, diff.keys)

    def _begin_again(self, keys: Collection[OperationKey]) -> None:
        for entry in self._watched.values():
            for identity, each in entry.items():
                if each.key in keys and identity in self._tasks:
                    self._end(identity)
        self._follow()

    def _end(self, identity: Hashable) -> None:
        self._shares.remove(identity)
        task = self._tasks.pop(identity)
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
