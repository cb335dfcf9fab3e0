"""Loads a catalogue as a gateway would, without serving it: for `stoa preflight`."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from dishka import AsyncContainer

from stoa.application.backends.static_backend import StaticBackend
from stoa.application.backends.upstream_tokens import UpstreamTokens
from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.manifests.parse import binding_manifests
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.catalogue_observer import CatalogueLoad, CatalogueObserver
from stoa.application.ports.clock import Clock
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.spec import SpecSource
from stoa.application.ports.spec_kind import SpecKind
from stoa.application.ports.tool_backend import ToolBackend
from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.domain.access.identity import TenantId
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.token_budget import TokenBudget
from stoa.domain.origin import ObjectOrigin, Origin
from stoa.domain.schema.json_value import as_object, as_text
from stoa.interfaces.bootstrap.core import catalogue_sources, token_counter
from stoa.interfaces.settings import Settings

_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of one load: nothing of it is in use anywhere."""

    catalogue: Catalogue
    load: CatalogueLoad


async def preflight_of(settings: Settings, container: AsyncContainer, *, as_objects: bool) -> Preflight:
    """Load the catalogue of CATALOGUE_PATH. `as_objects`: its manifests are read as objects of a cluster, so that each
    is its namespace's tenant's. Raises InvalidInput for a path that does not exist, and Unavailable."""
    executor = await container.get(BoundedExecutor)
    backends = await container.get(list[ToolBackend])
    registry = OperationRegistry(
        [*backends, StaticBackend()], await container.get(UpstreamTokens), await container.get(CredentialSource)
    )
    sources = catalogue_sources(settings, executor)
    memory = _Remembered()
    loader = CatalogueLoader(
        sources=[_AsObjects(source) for source in sources] if as_objects else sources,
        specs=SpecKinds(await container.get(list[SpecKind[Any]]), await container.get(SpecSource)),
        registry=registry,
        clock=await container.get(Clock),
        executor=executor,
        bindings=binding_manifests(backends),
        observers=[memory],
        lowering=settings.lower_access,
        tokens=token_counter(settings),
        token_budget=TokenBudget(per_tool=settings.tool_tokens, total=settings.catalogue_tokens),
    )
    await loader.execute()
    return Preflight(registry.catalogue, memory.load)


class _Remembered(CatalogueObserver):
    load: CatalogueLoad

    async def loaded(self, load: CatalogueLoad) -> None:
        self.load = load


class _AsObjects(ToolSource):
    """The manifests of files as a cluster has them after `kubectl apply`: in a namespace, and without a folder."""

    def __init__(self, files: ToolSource) -> None:
        self._files = files

    async def read(self) -> Sequence[ManifestDocument]:
        objects: dict[Origin, ManifestDocument] = {}
        for document in await self._files.read():
            applied = _as_object(document)
            other = objects.setdefault(applied.origin, applied)
            if other is not applied:  # the cluster would keep the one that is applied last
                problem = f"{applied.origin} is in these files twice; remove one"
                objects[document.origin] = ManifestDocument(document.origin, None, problem)
        return list(objects.values())

    async def changes(self) -> AsyncIterator[None]:
        async for _ in self._files.changes():
            yield


def _as_object(document: ManifestDocument) -> ManifestDocument:
    if document.content is None:
        return document
    metadata = as_object(document.content.get("metadata"))
    namespace = as_text(metadata.get("namespace")) or _DEFAULT_NAMESPACE
    content = {**document.content, "metadata": {**metadata, "namespace": namespace}}
    origin = ObjectOrigin(as_text(content.get("kind")), namespace, as_text(metadata.get("name")))
    return ManifestDocument(origin, content, tenant=TenantId(namespace.removeprefix("tenant-")))
