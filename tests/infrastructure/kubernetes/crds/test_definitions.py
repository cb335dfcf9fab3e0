"""The definitions that an API server gets: structural, complete, and of one mind with the gateway."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.infrastructure.kubernetes.crds.api_server import admit, schema_of
from tests.infrastructure.kubernetes.crds.manifests import manifests
from tests.infrastructure.kubernetes.crds.verdicts import (
    installed_definitions,
    is_beyond_rules,
    is_narrower,
    refusal_of_the_gateway,
)

from stoa.application.manifests.parse import ManifestParts
from stoa.application.ports.manifest_parts import BindingManifest, Interval, SourceManifest
from stoa.infrastructure.kubernetes.crds import definitions
from stoa.infrastructure.kubernetes.crds.structural_schema import ANYTHING, RULES

KINDS = ("Tool", "ToolSet", "Resource", "Prompt")
SEED = [*yaml.safe_load_all(Path(__file__).with_name("seed.yaml").read_text(encoding="utf-8"))]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("Tool", {}, "set exactly one of spec.endpoint, spec."),
    ("Tool", {"endpoint": "http://h", "graphQL": {"endpoint": "http://h", "document": "{a}"}}, "exactly one of"),
    ("Tool", {"endpoint": "h"}, ".spec.endpoint: should match"),
    ("Tool", {"endpoint": "http://h:99999/"}, ".spec.endpoint: should match"),
    ("Tool", {"endpoint": "http://h/{id}", "inputSchema": {}}, "spec.inputSchema: the endpoint needs each"),
    ("Tool", {"endpoint": "http://h", "timeout": "soon"}, ".spec.timeout: should match"),
    ("Tool", {"endpoint": "http://h", "timeout": "6m"}, ".spec.timeout: write a duration <= 5m"),
    ("Tool", {"endpoint": "http://h", "timeout": "0s"}, ".spec.timeout: write a duration > 0s"),
    ("Tool", {"endpoint": "http://h", "rateLimit": {"requestsPerMinute": 0}}, "requestsPerMinute: too small"),
    ("Tool", {"endpoint": "http://h", "tmeout": "1s"}, ".spec.tmeout: unknown field"),
    ("Tool", {"endpoint": "http://h", "authentication": {"type": "bearer"}}, "every type but none needs secretRef"),
    (
        "Tool",
        {"endpoint": "http://h", "authentication": {"type": "bearer", "secretRef": {"name": "s"}, "scopes": ["a"]}},
        "are for type oauth2",
    ),
    ("ToolSet", {}, "set exactly one of spec.openAPISpec"),
    ("ToolSet", {"openAPISpec": {}}, ".spec.openAPISpec: must validate one and only one"),
    ("ToolSet", {"openAPISpec": {"url": "http://h"}, "graphQL": {"url": "x"}}, "set exactly one of spec."),
    ("ToolSet", {"openAPISpec": {"url": "http://h", "refreshInterval": "0s"}}, "write a duration >= 1s"),
    ("Resource", {"uri": "stoa://x", "text": "a"}, "the scheme stoa is the gateway's own"),
    ("Resource", {"uri": "memo://x"}, "spec.text, spec.blob, spec.endpoint: set exactly one"),
    ("Prompt", {"messages": []}, ".spec.messages: too many or too few items"),
    ("Prompt", {"messages": [{"role": "user"}]}, ".spec.messages[0]: set exactly one of text"),
    ("Prompt", {"messages": [{"text": "a"}], "arguments": [{"name": "a"}, {"name": "a"}]}, "Duplicate value"),
]
"""Manifests that are refused, and words of the refusal."""


def manifest_of(kind: str, spec: dict[str, Any], name: str = "a") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "tenant-acme"}
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


SHIPPED = [
    manifest
    for path in sorted((Path(__file__).parents[4] / "interfaces").rglob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if manifest.get("kind") in KINDS
]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from nodes(member, f"{path}.{name}")
    for member in ("items", "additionalProperties"):
        if isinstance(schema.get(member), dict):
            yield from nodes(schema[member], f"{path}.{member}")


def admitted(manifest: dict[str, Any]) -> list[str]:
    return admit(installed_definitions()[manifest["kind"]], manifest)[1]


@pytest.mark.parametrize("manifest", SEED, ids=lambda one: one["metadata"]["name"])
def test_definition_accepts_the_first_manifests_as_they_stand(manifest: dict[str, Any]) -> None:
    assert admitted(manifest) == []
    assert refusal_of_the_gateway(manifest) is None


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda one: one["metadata"]["name"])
def test_definition_accepts_the_manifests_of_the_demo(manifest: dict[str, Any]) -> None:
    assert admitted(manifest) == []


@pytest.mark.parametrize("kind", KINDS)
def test_definition_is_structural(kind: str) -> None:
    definition = installed_definitions()[kind]
    assert definition["metadata"]["name"] == f"{definition['spec']['names']['plural']}.gostoa.dev"
    (version,) = definition["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    for path, node in nodes(schema_of(definition)):
        assert not {"$ref", "$defs", "allOf", "title", "const", "uniqueItems"} & node.keys(), path
        assert all(each.keys() == {"required"} for word in ("anyOf", "oneOf") for each in node.get(word, ())), path
        assert "type" in node or node.get(ANYTHING), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert node.get("type") != "array" or "items" in node, path
        assert isinstance(node.get("exclusiveMinimum", True), bool), path
        assert all(rule["message"] for rule in node.get(RULES, ())), path


def test_definition_writes_defaults_that_mean_what_their_absence_means() -> None:
    for manifest in SEED:
        stored, problems = admit(installed_definitions()[manifest["kind"]], manifest)
        assert problems == []
        assert refusal_of_the_gateway(stored) is None
    spec = admit(installed_definitions()["Tool"], SEED[0])[0]["spec"]
    assert (spec["timeout"], spec["enabled"], spec["tasks"], spec["inputSchema"]["type"]) == (
        "30s",
        True,
        "never",
        "object",
    )


@pytest.mark.parametrize(("kind", "spec", "field"), WRONG)
def test_definition_refuses_a_wrong_manifest_with_a_message_that_names_the_field(
    kind: str, spec: dict[str, Any], field: str
) -> None:
    manifest = manifest_of(kind, spec)
    problems = admitted(manifest)
    assert any(field in problem for problem in problems), problems
    assert refusal_of_the_gateway(manifest) is not None


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_definition_and_gateway_accept_the_same_manifests(kind: str, data: st.DataObject) -> None:
    definition = installed_definitions()[kind]
    manifest = data.draw(manifests(definition))
    stored, problems = admit(definition, manifest)
    refusal = refusal_of_the_gateway(stored)
    if not problems:
        assert refusal is None or is_beyond_rules(refusal), refusal
    else:
        assert refusal_of_the_gateway(manifest) is not None or is_narrower(problems), problems


class _Part(BindingManifest):
    """The member of a further back end."""

    member: ClassVar[str] = "smoke"
    signal: str
    fuel: str | None = "wood"


class _Source(SourceManifest):
    hill: str
    every: Interval = 90.0


def test_definition_has_the_members_of_further_back_ends() -> None:
    tools, tool_sets = list(definitions(ManifestParts({"smoke": _Part}, {"smoke": _Source})).values())[:2]
    assert schema_of(tools)["properties"]["spec"]["properties"]["smoke"] == {
        "description": "The member of a further back end.",
        "type": "object",
        "required": ["signal"],
        "properties": {
            "signal": {"type": "string"},
            "fuel": {"type": "string", "nullable": True, "default": "wood"},  # a null says that there is none
        },
    }
    spec = schema_of(tool_sets)["properties"]["spec"]
    assert spec["properties"]["smoke"]["properties"]["every"]["default"] == "90s"
    assert spec[RULES][0]["message"] == "set exactly one of spec.smoke"
