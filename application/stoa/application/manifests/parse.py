"""The manifests of group gostoa.dev, version v1alpha1: the same document as a file and as a Kubernetes object.

Pure: text has been parsed into a dict before, and nothing is fetched here. `parse_manifest` names the wrong field.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from stoa.application.manifests.contents import PromptManifest, ResourceManifest
from stoa.application.manifests.fields import (
    API_VERSION,
    TENANT_LABEL,
    Manifest,
    RateLimitManifest,
    describe_manifest_error,
)
from stoa.application.manifests.tools import ToolManifest, ToolSetManifest, ToolSetSpec, ToolSpec
from stoa.application.ports.manifest_parts import BindingManifest, DocumentSourceManifest, SourceManifest
from stoa.application.ports.tool_backend import NamedByManifests, ToolBackend
from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.application.schemas.output_schema import OutputSchema
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import Tool
from stoa.domain.schema.json_value import JsonObject

__all__ = [
    "API_VERSION",
    "BUILT_IN_PARTS",
    "TENANT_LABEL",
    "AnyManifest",
    "ManifestParts",
    "PromptManifest",
    "RateLimitManifest",
    "ResourceManifest",
    "ToolManifest",
    "ToolSetManifest",
    "ToolSetSpec",
    "ToolSpec",
    "binding_manifests",
    "describe_manifest_error",
    "parse_manifest",
]

AnyManifest = ToolManifest | ToolSetManifest | ResourceManifest | PromptManifest


@dataclass(frozen=True, slots=True)
class ManifestParts:
    """The members of `spec` that back ends define, by their keys: of a Tool, and of a ToolSet."""

    tools: Mapping[str, type[BindingManifest]] = field(default_factory=dict[str, type[BindingManifest]])
    sources: Mapping[str, type[SourceManifest]] = field(default_factory=dict[str, type[SourceManifest]])


def binding_manifests(backends: Iterable[ToolBackend]) -> dict[str, type[BindingManifest]]:
    """The members of a Tool's `spec` that these back ends define, by their keys. Raises InvalidInput when two claim
    one."""
    models: dict[str, type[BindingManifest]] = {}
    for backend in backends:
        if isinstance(backend, NamedByManifests):
            model = backend.manifest()
            if models.setdefault(model.member, model) is not model:
                raise InvalidInput(f"spec.{model.member}: two back ends describe their bindings there")
    return models


BUILT_IN_PARTS = ManifestParts(sources={"openAPISpec": DocumentSourceManifest})


def parse_manifest(document: JsonObject, parts: ManifestParts = BUILT_IN_PARTS) -> AnyManifest:
    """The manifest in `document`. Raises InvalidInput whose message names each wrong field and what it expects."""
    try:
        match document.get("kind"):
            case "Tool":
                tool = ToolManifest.read(document, parts.tools)
                _check_tenant(tool)
                _check_schemas(tool.to_operation())
                return tool
            case "ToolSet":
                tool_set = ToolSetManifest.read(document, parts.sources)
                _check_tenant(tool_set)
                return tool_set
            case "Resource" | "Prompt" as kind:
                content_kind = ResourceManifest if kind == "Resource" else PromptManifest
                content: ResourceManifest | PromptManifest = content_kind.model_validate(document)
                _check_tenant(content)
                content.to_operation()
                return content
            case other:
                raise InvalidInput(f"kind: expected Tool, ToolSet, Resource or Prompt, found {str(other)[:40]!r}")
    except ValidationError as caught:
        raise InvalidInput(describe_manifest_error(caught)) from caught


def _check_tenant(manifest: Manifest) -> None:
    labelled = manifest.metadata.labels.get(TENANT_LABEL)
    if labelled is not None and labelled != (manifest.tenant or ""):
        # Obeying it would let one team plant tools in another's catalogue.
        raise InvalidInput(
            f"metadata.labels.{TENANT_LABEL}: {labelled!r} disagrees with the namespace "
            f"({manifest.tenant or 'none'}); the namespace decides, remove the label"
        )


def _check_schemas(tool: Tool) -> None:
    """Compile the tool's schemas. Done here as well as at registration, so that a file with a bad schema keeps its last
    good version."""
    try:
        ArgumentSchema(tool.input_schema)
        if tool.output_schema is not None:
            OutputSchema(tool.name, tool.output_schema)
    except InvalidInput as refused:
        raise InvalidInput(f"spec.{refused.message}") from refused
