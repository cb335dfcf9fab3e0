"""The CustomResourceDefinitions of this gateway: of the back ends and spec kinds that it is made with."""

from collections.abc import Mapping
from typing import Any

from dishka import AsyncContainer

from stoa.application.manifests.parse import ManifestParts, binding_manifests
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.ports.spec import SpecSource
from stoa.application.ports.spec_kind import SpecKind
from stoa.application.ports.tool_backend import ToolBackend
from stoa.infrastructure.kubernetes.crds import definition_files


async def manifest_parts(container: AsyncContainer) -> ManifestParts:
    """The members of `spec` that the installed back ends and spec kinds define."""
    kinds = SpecKinds(await container.get(list[SpecKind[Any]]), await container.get(SpecSource))
    return ManifestParts(binding_manifests(await container.get(list[ToolBackend])), kinds.models)


async def resource_definitions(container: AsyncContainer) -> Mapping[str, str]:
    """The definitions as YAML, by the names of their files."""
    return definition_files(await manifest_parts(container))
