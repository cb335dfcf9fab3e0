"""The manifests of group gostoa.dev, version v1alpha1: the same document as a file and as a Kubernetes object.

Pure: text has been parsed into a dict before, and nothing is fetched here. `parse_manifest` says which field is wrong.
"""

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
from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.application.schemas.output_schema import OutputSchema
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import Tool
from stoa.domain.schema.json_value import JsonObject

__all__ = [
    "API_VERSION",
    "TENANT_LABEL",
    "AnyManifest",
    "PromptManifest",
    "RateLimitManifest",
    "ResourceManifest",
    "ToolManifest",
    "ToolSetManifest",
    "ToolSetSpec",
    "ToolSpec",
    "describe_manifest_error",
    "parse_manifest",
]

AnyManifest = ToolManifest | ToolSetManifest | ResourceManifest | PromptManifest


def parse_manifest(document: JsonObject) -> AnyManifest:
    """Raises InvalidInput whose message names each wrong field and what it expects."""
    try:
        match document.get("kind"):
            case "Tool":
                tool = ToolManifest.model_validate(document)
                _check_tenant(tool)
                _check_schemas(tool.to_operation())
                return tool
            case "ToolSet":
                tool_set = ToolSetManifest.model_validate(document)
                _check_tenant(tool_set)
                source = tool_set.spec.open_api_spec
                if (source.url is None) == (source.inline is None):
                    raise InvalidInput("spec.openAPISpec: set exactly one of url and inline")
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
    """Here and not only at registration, so that a file with a bad schema keeps its last good version."""
    try:
        ArgumentSchema(tool.input_schema)
        if tool.output_schema is not None:
            OutputSchema(tool.name, tool.output_schema)
    except InvalidInput as refused:
        raise InvalidInput(f"spec.{refused.message}") from refused
