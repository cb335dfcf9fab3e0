"""Manifests that are objects of a cluster, followed by list and watch."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter

from stoa.application.catalogue.owners import namespaces_of, tenant_of
from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.application.concurrency.pace import in_turns
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.domain.errors import Unavailable
from stoa.domain.origin import ObjectOrigin
from stoa.domain.schema.json_value import JsonObject, as_text, is_object, objects_in
from stoa.infrastructure.kubernetes.api.cluster import Cluster
from stoa.infrastructure.kubernetes.api.named_objects import NamedObjects
from stoa.infrastructure.kubernetes.api.objects import ApiObject, Key, manifest_content, nothing
from stoa.infrastructure.kubernetes.api.reflector import Reflector, Watched
from stoa.infrastructure.kubernetes.watch_scope import WatchScope

API = "/apis/gostoa.dev/v1alpha1"
PLURALS: Mapping[str, str] = {"Prompt": "prompts", "Resource": "resources", "Tool": "tools", "ToolSet": "toolsets"}
"""The kinds that are followed, and their names in paths."""
FIRST_READ_SECONDS = 10.0
"""Upper bound on the wait for the first list; after it, reading fails and is tried again."""
BURST_SECONDS = 0.2
"""Changes of this time after a change are given together."""
LONGEST_BURST_SECONDS = 0.4
"""The same while changes go on and on."""


@dataclass(frozen=True, slots=True)
class FollowedManifest:
    """A manifest as the cluster has it."""

    object: ApiObject
    document: ManifestDocument
    config_maps: tuple[str, ...]
    """Names of those that it refers to."""
    secrets: tuple[str, ...]


class KubernetesToolSource(ToolSource, HealthProbe):
    """Follows the cluster from the first `read` or `changes` until `close`, and gives what it heard last while the API
    server is away. Each manifest is its namespace's tenant's.

    A namespace whose deletion was asked for, or that no longer matches, takes its manifests along at once; so does a
    manifest that is being deleted. `config_maps` and `secrets`: follow those that manifests name; None: none are read.
    """

    name = "kubernetes"

    def __init__(
        self,
        cluster: Cluster,
        scope: WatchScope,
        config_maps: NamedObjects | None = None,
        secrets: NamedObjects | None = None,
    ) -> None:
        self._cluster = cluster
        self._config_maps = config_maps
        self._scope = scope
        self._secrets = secrets
        self._namespaces = cluster.reflector(_namespaces(scope)) if scope.needs_namespaces else None
        self._reflectors = [
            (kind, cluster.reflector(watched)) for kind in PLURALS for watched in watched_manifests(kind, scope)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._read_revision = -1
        self._manifests: dict[ObjectOrigin, FollowedManifest] = {}

    async def read(self) -> Sequence[ManifestDocument]:
        """Raises Unavailable while it is not known what exists."""
        self._start()
        await self._first_list()
        revision = self._cluster.revision
        followed = [(str(origin), origin, manifest) async for origin, manifest in in_turns(self._followed())]
        followed.sort(key=itemgetter(0))
        self._manifests = {origin: manifest async for _, origin, manifest in in_turns(followed)}
        self._read_revision = revision
        if self._config_maps is not None:
            await self._config_maps.follow(frozenset([key async for key in in_turns(self._config_map_keys())]))
        if self._secrets is not None:
            keys = frozenset([key async for key in in_turns(self._secret_keys())])
            self._secrets.keep_only(keys)
            await self._secrets.follow(keys)
        return [manifest.document for manifest in self._manifests.values()]

    def changes(self) -> AsyncIterator[None]:
        self._start()
        changes = self._cluster.notices.watch()
        if self._cluster.revision != self._read_revision:  # something came between reading and watching
            self._cluster.notices.announce()
        return self._paced(changes)

    async def _paced(self, changes: AsyncIterator[None]) -> AsyncIterator[None]:
        """The first change at once, and those of the following moment together: a catalogue that is loaded anew for
        each of a hundred edits a second would leave calls no time."""
        pause = BURST_SECONDS
        async for _ in changes:
            given = self._cluster.revision
            yield
            await self._cluster.sleep(pause)
            is_storm = self._cluster.revision != given
            pause = min(2 * pause, LONGEST_BURST_SECONDS) if is_storm else BURST_SECONDS

    def manifest(self, origin: ObjectOrigin) -> FollowedManifest | None:
        """The manifest as it was last heard of; None: there is none."""
        kind_reflectors = (reflector for kind, reflector in self._reflectors if kind == origin.kind)
        key = (origin.namespace or "", origin.name)
        found = next((one for reflector in kind_reflectors if (one := reflector.objects.get(key))), None)
        return None if found is None else self._followed_manifest(origin, found)

    def health(self) -> Health:
        """Always ready: calls need no API server, and the catalogue stays as it was."""
        followed: list[Reflector] = [reflector for _, reflector in self._reflectors]
        if self._namespaces is not None:
            followed.append(self._namespaces)
        if self._secrets is not None:
            followed += self._secrets.followed
        findings = tuple(
            f"{reflector.watched.path}: {reflector.problem}; the catalogue may be out of date"
            for reflector in followed
            if reflector.problem
        )
        return Health(True, f"{len(self._manifests)} manifests", findings)

    async def close(self) -> None:
        await cancel_and_wait(*self._tasks)
        self._tasks.clear()

    def _start(self) -> None:
        if self._tasks:
            return
        self._tasks.append(asyncio.create_task(self._cluster.prepare(), name="kubernetes reader"))
        reflectors = [reflector for _, reflector in self._reflectors]
        for reflector in reflectors if self._namespaces is None else [self._namespaces, *reflectors]:
            task = asyncio.create_task(reflector.run(), name=f"kubernetes {reflector.watched.path}")
            self._tasks.append(task)

    async def _first_list(self) -> None:
        reflectors = [reflector for _, reflector in self._reflectors]
        if self._namespaces is not None:
            reflectors.append(self._namespaces)
        try:
            async with asyncio.timeout(FIRST_READ_SECONDS):
                for reflector in reflectors:
                    await reflector.is_synchronised.wait()
        except TimeoutError:
            problem = next((one.problem for one in reflectors if one.problem), "its lists are not complete yet")
            raise Unavailable(f"Kubernetes: {problem}") from None

    def _followed(self) -> Iterator[tuple[ObjectOrigin, FollowedManifest]]:
        for kind, reflector in self._reflectors:
            is_served = cache(self._is_served)
            for (namespace, name), found in tuple(reflector.objects.items()):
                if not found.is_leaving and is_served(namespace):
                    origin = ObjectOrigin(kind, namespace, name)
                    yield origin, self._followed_manifest(origin, found)

    def _followed_manifest(self, origin: ObjectOrigin, found: ApiObject) -> FollowedManifest:
        """With the same document as before while the manifest is the same: the loader compares them."""
        before = self._manifests.get(origin)
        if before is not None and before.object is found:
            return before
        if before is not None and before.object.is_same(found):
            return replace(before, object=found)
        document = ManifestDocument(origin, found.content, found.problem, tenant=tenant_of(origin.namespace or ""))
        config_maps = tuple(_names(found.content, "configmapref"))
        return FollowedManifest(found, document, config_maps, tuple(_names(found.content, "secretref")))

    def _is_served(self, namespace: str) -> bool:
        if self._namespaces is None:
            return True
        if not self._namespaces.is_known:
            return not self._scope.tenants  # without the right to see labels none matches
        found = self._namespaces.objects.get(("", namespace))
        return found is not None and not found.is_leaving

    def _config_map_keys(self) -> Iterator[Key]:
        """Each ConfigMap that a manifest names by a reference. They are read together here; one by one, as the loader
        comes to them, fifty of them would take ten seconds."""
        for origin, manifest in self._manifests.items():
            for name in manifest.config_maps:
                yield origin.namespace or "", name

    def _secret_keys(self) -> Iterator[Key]:
        """Each secret that a manifest names, which is one of its own namespace. Of two namespaces that would be one
        tenant only the first has secrets, as only its manifests count."""
        served = {origin.namespace for origin in self._manifests}
        for origin, manifest in self._manifests.items():
            if not manifest.secrets:
                continue
            namespace = origin.namespace or ""
            first = next(name for name in namespaces_of(tenant_of(namespace)) if name in served)
            if namespace == first:
                for name in manifest.secrets:
                    yield namespace, name


def _names(content: JsonObject | None, ending: str) -> Iterator[str]:
    """The names in all references of this kind, such as `secretRef` and `caSecretRef`."""
    for part in objects_in(content):
        for member, value in part.items():
            if member.lower().endswith(ending) and is_object(value) and as_text(value.get("name")):
                yield as_text(value["name"])


def _namespaces(scope: WatchScope) -> Watched:
    return Watched("/api/v1/namespaces", nothing, {"labelSelector": scope.tenants} if scope.tenants else {})


def watched_manifests(kind: str, scope: WatchScope) -> Iterator[Watched]:
    """The paths of the manifests of one kind."""
    selectors = {"labelSelector": scope.manifests} if scope.manifests else {}
    if not scope.namespaces:
        yield Watched(f"{API}/{PLURALS[kind]}", manifest_content, selectors)
    for namespace in scope.namespaces:
        yield Watched(f"{API}/namespaces/{namespace}/{PLURALS[kind]}", manifest_content, selectors)
