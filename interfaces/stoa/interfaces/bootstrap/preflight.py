"""Loads a catalogue as a gateway would, without serving it: for `stoa preflight`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.token_budget import TokenBudget
from stoa.domain.origin import Origin
from stoa.interfaces.bootstrap.applied_objects import AppliedObjects
from stoa.interfaces.bootstrap.core import catalogue_sources, token_counter
from stoa.interfaces.settings import Settings


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of one load: nothing of it is in use anywhere."""

    catalogue: Catalogue
    load: CatalogueLoad
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    """Objects of a cluster that are no manifests, by their kind."""
    places: Mapping[Origin, str] = field(default_factory=dict[Origin, str])
    """Files of the manifests of a cluster, which themselves name none."""


async def preflight_of(settings: Settings, container: AsyncContainer, *, as_objects: bool) -> Preflight:
    """Load the catalogue of CATALOGUE_PATH. `as_objects`: its manifests are read as objects of a cluster, so that each
    is its namespace's tenant's. Raises InvalidInput for a path that does not exist, and Unavailable."""
    executor = await container.get(BoundedExecutor)
    backends = await container.get(list[ToolBackend])
    registry = OperationRegistry(
        [*backends, StaticBackend()], await container.get(UpstreamTokens), await container.get(CredentialSource)
    )
    sources, documents = catalogue_sources(settings, executor), await container.get(SpecSource)
    applied = AppliedObjects(sources[0], documents) if as_objects and sources else None
    memory = _Remembered()
    loader = CatalogueLoader(
        sources=sources if applied is None else [applied],
        specs=SpecKinds(await container.get(list[SpecKind[Any]]), applied or documents),
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
    if applied is None:
        return Preflight(registry.catalogue, memory.load)
    return Preflight(registry.catalogue, memory.load, applied.skipped, applied.places)


class _Remembered(CatalogueObserver):
    load: CatalogueLoad

    async def loaded(self, load: CatalogueLoad) -> None:
        self.load = load
