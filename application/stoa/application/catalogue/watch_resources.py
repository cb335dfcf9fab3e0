"""Who is told that a resource changed: whoever watches what is read from it, and may still read it when it is told.

A change comes from the catalogue, or from the embedding program, which alone knows when the contents of a function's
resource are others now.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stoa.application.catalogue.caller_view import CallerView
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
    """What is read from one of `sources` has changed."""

    sources: frozenset[OperationKey]
    uri: str | None = None
    """Only what is read under this URI; None: under every one."""
    audience: TenantId | None = None
    """Only this tenant is told; None: every tenant that sees the resource."""

    @property
    def is_announced(self) -> bool:
        """A program said so, in this process; changes of the catalogue are seen in every process."""
        return self.uri is not None


class Updates:
    """Several updates, to be asked about many URIs."""

    def __init__(self, updates: Iterable[ResourceUpdate]) -> None:
        self._by_uri: defaultdict[str | None, list[ResourceUpdate]] = defaultdict(list)
        for update in updates:
            self._by_uri[update.uri].append(update)

    def about(self, uri: str, caller: Principal) -> list[ResourceUpdate]:
        """Those that `uri` may be meant by and this caller may hear of."""
        possible = (*self._by_uri.get(uri, ()), *self._by_uri.get(None, ()))
        return [update for update in possible if caller.hears_of(update.audience)]


Listener = Callable[[ResourceUpdate], None]


class WatchResources:
    """The right to read is looked at when somebody begins to watch, and again whenever there is something to tell."""

    def __init__(self, registry: OperationRegistry, policy: PolicyEngine, view: CallerView) -> None:
        self._registry = registry
        self._policy = policy
        self._view = view
        self._listeners: list[Listener] = []
        registry.subscribe(self._replaced)

    def subscribe(self, listener: Listener) -> None:
        """Tell `listener` of each update; it may be called from any thread."""
        self._listeners.append(listener)

    def announce(self, uri: str, tenant: TenantId | None) -> None:
        """What is read under `uri` in the view of `tenant` (None: the global one) has changed. May be called from any
        thread. Raises ResourceNotFound."""
        resource = self._registry.catalogue.resolve(tenant, uri)
        if resource is None:
            raise ResourceNotFound(uri)
        self._tell(ResourceUpdate(frozenset({resource.key}), uri, tenant))

    def _replaced(self, diff: CatalogueDiff) -> None:
        # Tools too: the gateway's pages about them are resources.
        changed = (one.key for one in (*diff.added, *diff.changed))
        self._tell(ResourceUpdate(frozenset(key for key in (*changed, *diff.removed) if key.kind != "prompt")))

    def _tell(self, update: ResourceUpdate) -> None:
        for listener in tuple(self._listeners):
            listener(update)

    async def watchable(self, caller: Principal, tenant: TenantId | None, uri: str, door: Door) -> OperationKey | None:
        """The resource that `caller`, acting for `tenant`, reads under `uri`; None when there is none that it may
        read. Raises PolicyUnavailable."""
        viewer = caller.acting_for(tenant)
        found = None if viewer is None else self._registry.catalogue.resolve(viewer.tenant, uri)
        if viewer is None or found is None or not await self._may_read(viewer, found, uri, door):
            return None
        return found.key

    async def concerns(self, updates: Updates, caller: Principal, uri: str, watched: OperationKey, door: Door) -> bool:
        """Is `caller`, who watches `uri` since it was read from `watched`, to be told? Raises PolicyUnavailable."""
        about = updates.about(uri, caller)
        viewer = caller.acting_for(watched.tenant) if about else None
        found = None if viewer is None else self._registry.catalogue.resolve(viewer.tenant, uri)
        if viewer is None or found is None:
            return False
        # `watched` too: what is read there now may be another resource, since that one is gone.
        behind = {watched, *self._behind(viewer, found, uri)}
        if all(update.sources.isdisjoint(behind) for update in about):
            return False
        return await self._may_read(viewer, found, uri, door)

    def _behind(self, viewer: Principal, resource: Resource, uri: str) -> set[OperationKey]:
        """Everything in the catalogue that makes what `viewer` reads there."""
        name = (resource.match(uri) or {}).get("name", "") if resource.key == TOOL_PAGES.key else ""
        tool = self._registry.catalogue.find(viewer.tenant, name)
        return {resource.key} if tool is None else {resource.key, tool.key}

    async def _may_read(self, viewer: Principal, resource: Resource, uri: str, door: Door) -> bool:
        arguments = resource.match(uri) or {}
        decision = await self._policy.decide(PolicyQuery(viewer, resource, arguments, door))
        if not decision.is_allowed or resource.key != TOOL_PAGES.key:
            return decision.is_allowed
        return await self._view.one(Tool, viewer, door, arguments["name"]) is not None
