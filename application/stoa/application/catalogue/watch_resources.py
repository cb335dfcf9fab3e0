"""Notifications that a resource changed: sent to callers who watch it and may still read it at that moment.

A change comes from the catalogue, from the back end of a resource, or from the embedding program, which alone knows
when the contents of a function's resource are others now.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stoa.application.catalogue.caller_view import CallerView
from stoa.application.catalogue.follow_resources import FollowResources, WatchedResource
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.catalogue.tool_pages import TOOL_PAGES
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.errors import ResourceNotFound
from stoa.domain.operations.catalogue import CatalogueDiff
from stoa.domain.operations.operation import OperationKey
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Tool
from stoa.domain.policy.decision import Door, PolicyQuery


@dataclass(frozen=True, slots=True)
class ResourceUpdate:
    """A change of the contents that are read from one of `sources`."""

    sources: frozenset[OperationKey]
    uri: str | None = None
    """The changed URI; None: every URI that is read from them."""
    audience: TenantId | None = None
    """The only tenant to notify; None: every tenant that sees the resource."""
    reader: str | None = None
    """`identity_key` of the only caller to notify: the back end told it in this caller's own session; None: all."""

    @property
    def is_announced(self) -> bool:
        """True if a program in this process announced it; changes of the catalogue are seen in every process, and those
        that a back end tells where their reader listens."""
        return self.uri is not None and self.reader is None


class Updates:
    """Several updates, indexed for look-ups of many URIs."""

    def __init__(self, updates: Iterable[ResourceUpdate]) -> None:
        self._by_uri: defaultdict[str | None, list[ResourceUpdate]] = defaultdict(list)
        for update in updates:
            self._by_uri[update.uri].append(update)

    def about(self, uri: str, caller: Principal) -> list[ResourceUpdate]:
        """The updates that may concern `uri` and that this caller may hear of."""
        possible = (*self._by_uri.get(uri, ()), *self._by_uri.get(None, ()))
        return [
            update
            for update in possible
            if caller.hears_of(update.audience) and update.reader in {None, caller.identity_key}
        ]


Listener = Callable[[ResourceUpdate], None]


class WatchResources:
    """Decides who is notified. The right to read is checked when a caller begins to watch, and again for each
    notification."""

    def __init__(self, registry: OperationRegistry, policy: PolicyEngine, view: CallerView) -> None:
        self._registry = registry
        self._policy = policy
        self._view = view
        self._listeners: list[Listener] = []
        self.following = FollowResources(registry)
        """Told by the doors what is watched now."""
        self.following.subscribe(self._told_by_back_end)
        registry.subscribe(self._replaced)

    def subscribe(self, listener: Listener) -> None:
        """Notify `listener` of each update; it may be called from any thread."""
        self._listeners.append(listener)

    def announce(self, uri: str, tenant: TenantId | None) -> None:
        """Announce that the contents under `uri` in the view of `tenant` (None: the global one) have changed. May be
        called from any thread. Raises ResourceNotFound."""
        resource = self._registry.catalogue.resolve(tenant, uri)
        if resource is None:
            raise ResourceNotFound(uri)
        self._tell(ResourceUpdate(frozenset({resource.key}), uri, tenant))

    def _told_by_back_end(self, watched: WatchedResource) -> None:
        caller = watched.caller
        self._tell(ResourceUpdate(frozenset({watched.key}), watched.uri, caller.tenant, caller.identity_key))

    def _replaced(self, diff: CatalogueDiff) -> None:
        self._tell(ResourceUpdate(diff.readable_keys))

    def _tell(self, update: ResourceUpdate) -> None:
        for listener in tuple(self._listeners):
            listener(update)

    async def watchable(self, caller: Principal, tenant: TenantId | None, uri: str, door: Door) -> OperationKey | None:
        """The resource that `caller`, acting for `tenant`, reads under `uri`; None if there is none that it may read.
        Raises PolicyUnavailable."""
        viewer = caller.acting_for(tenant)
        resource = None if viewer is None else self._registry.catalogue.resolve(viewer.tenant, uri)
        if viewer is None or resource is None or not await self._may_read(viewer, resource, uri, door):
            return None
        return resource.key

    async def concerns(self, updates: Updates, caller: Principal, uri: str, watched: OperationKey, door: Door) -> bool:
        """True if `caller`, who watches `uri` since it was read from `watched`, has to be notified. Raises
        PolicyUnavailable."""
        about = updates.about(uri, caller)
        viewer = caller.acting_for(watched.tenant) if about else None
        resource = None if viewer is None else self._registry.catalogue.resolve(viewer.tenant, uri)
        if viewer is None or resource is None:
            return False
        # `watched` too: what is read there now may be another resource, since that one is gone.
        behind = {watched, *self._behind(viewer, resource, uri)}
        if all(update.sources.isdisjoint(behind) for update in about):
            return False
        return await self._may_read(viewer, resource, uri, door)

    def _behind(self, viewer: Principal, resource: Resource, uri: str) -> set[OperationKey]:
        """The operations in the catalogue that determine what `viewer` reads there."""
        name = (resource.match(uri) or {}).get("name", "") if resource.key == TOOL_PAGES.key else ""
        tool = self._registry.catalogue.find(viewer.tenant, name)
        return {resource.key} if tool is None else {resource.key, tool.key}

    async def _may_read(self, viewer: Principal, resource: Resource, uri: str, door: Door) -> bool:
        arguments = resource.match(uri) or {}
        decision = await self._policy.decide(PolicyQuery(viewer, resource, arguments, door))
        if not decision.is_allowed or resource.key != TOOL_PAGES.key:
            return decision.is_allowed
        return await self._view.one(Tool, viewer, door, arguments["name"]) is not None
