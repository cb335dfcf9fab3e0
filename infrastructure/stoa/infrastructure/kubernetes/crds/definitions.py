"""One CustomResourceDefinition (apiextensions.k8s.io/v1) for each kind of manifest that a catalogue holds.

The members of `spec` that back ends define come from their own models, so a further back end appears by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from stoa.application.manifests.contents import PromptSpec, ResourceSpec
from stoa.application.manifests.parse import API_VERSION, ManifestParts
from stoa.application.manifests.tools import ToolSetSpec, ToolSpec
from stoa.application.ports.manifest_parts import exactly_one
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.kubernetes.crds.status_schema import status_schema
from stoa.infrastructure.kubernetes.crds.structural_schema import RULES, structural_schema

GROUP, _, VERSION = API_VERSION.partition("/")
CATEGORY = "stoa"


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    plural: str
    short_names: tuple[str, ...]
    description: str
    spec: type[BaseModel]
    columns: tuple[tuple[str, str, str], ...] = ()
    """Printer columns of its own: name, type and JSONPath."""


_KINDS = (
    _Kind("Tool", "tools", ("tl",), "One tool of the gateway, written by hand.", ToolSpec),
    _Kind(
        "ToolSet",
        "toolsets",
        ("ts",),
        "The tools that an API description becomes.",
        ToolSetSpec,
        (("Tools", "integer", ".status.toolCount"),),
    ),
    _Kind("Resource", "resources", ("mcpres",), "Something that callers of the gateway read.", ResourceSpec),
    _Kind("Prompt", "prompts", ("mcpprompt",), "A prompt that callers of the gateway get.", PromptSpec),
)


def definitions(parts: ManifestParts) -> Mapping[str, JsonObject]:
    """The definitions by the names of their files. `parts`: the members of `spec` that back ends define."""
    further = {"Tool": parts.tools, "ToolSet": parts.sources}
    return {
        f"{GROUP}_{kind.plural}.yaml": _definition(kind, _spec(kind, further.get(kind.name, {}))) for kind in _KINDS
    }


def _spec(kind: _Kind, parts: Mapping[str, type[BaseModel]]) -> JsonObject:
    spec = structural_schema(kind.spec)
    members = {member: structural_schema(model) for member, model in parts.items()}
    rules: list[JsonObject] = []
    if kind.name == "Tool":
        rules = [
            _one_of("endpoint", *members),
            {
                "rule": "!has(self.method) || has(self.endpoint)",
                "message": "spec.method: is for HTTP; remove it",
            },
        ]
    elif kind.name == "ToolSet":
        rules = [_one_of(*members)]
    spec["properties"] = {**spec["properties"], **members}
    if rules:
        spec[RULES] = [*rules, *spec.get(RULES, ())]
    return spec


def _one_of(*members: str) -> JsonObject:
    names = ", ".join(f"spec.{member}" for member in members)
    return {"rule": exactly_one(*members), "message": f"set exactly one of {names}"}


def _definition(kind: _Kind, spec: JsonObject) -> JsonObject:
    schema: JsonObject = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status_schema(kind.name),
        },
        RULES: [
            {"rule": "size(self.metadata.name) <= 128", "message": "metadata.name: at most 128 characters"},
        ],
    }
    version: JsonObject = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(kind),
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": list(kind.short_names),
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def _columns(kind: _Kind) -> list[JsonObject]:
    columns: list[tuple[str, str, str, int]] = [
        ("Phase", "string", ".status.phase", 0),
        *((name, type_, path, 0) for name, type_, path in kind.columns),
        ("Reason", "string", '.status.conditions[?(@.type=="Programmed")].reason', 0),
        ("Calls", "integer", ".status.invocationCount", 1),
        ("Errors", "integer", ".status.errorCount", 1),
        ("Message", "string", '.status.conditions[?(@.type=="Programmed")].message', 1),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ]
    return [
        {"name": name, "type": type_, "jsonPath": path, **({"priority": priority} if priority else {})}
        for name, type_, path, priority in columns
    ]
