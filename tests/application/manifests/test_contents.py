"""Manifests of resources and prompts: every field arrives, and what is wrong is named."""

import pytest

from stoa.application.manifests.parse import PromptManifest, ResourceManifest, parse_manifest
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.binding import RestBinding, StaticBinding, StaticImage, StaticMessage, StaticResource
from stoa.domain.operations.prompt import PromptArgument


def manifest(kind, spec, **metadata):
    metadata = {"name": "memo", **metadata}
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def resource(**spec):
    parsed = parse_manifest(manifest("Resource", spec, namespace="tenant-acme"))
    assert isinstance(parsed, ResourceManifest)
    return parsed.to_operation()


def prompt(**spec):
    parsed = parse_manifest(manifest("Prompt", spec))
    assert isinstance(parsed, PromptManifest)
    return parsed.to_operation()


def test_every_field_of_a_static_resource_arrives():
    made = resource(
        uri="memo://ant", displayName="Ant", description="About it.", mimeType="text/plain", text="ä", tags=["a"]
    )
    assert (made.uri, made.name, made.tenant, made.title) == ("memo://ant", "memo", "acme", "Ant")
    assert (made.description, made.mime_type, made.size, made.tags) == ("About it.", "text/plain", 2, ("a",))
    contents = StaticResource(uri="memo://ant", mime_type="text/plain", text="ä")
    assert made.binding == StaticBinding(contents=(contents,))
    assert resource(uri="memo://ant", blob="AAE=", size=7).size == 7


def test_a_template_is_read_with_get_its_variables_in_path_and_query():
    made = resource(
        uriTemplate="pets://{id}/{part}",
        endpoint="https://pets.example/v1/pets/{id}?full=1",
        completions={"part": ["tail", "paw"]},
        timeout="3s",
        rateLimit={"requestsPerMinute": 5},
        authentication={"type": "bearer", "secretRef": {"name": "pets"}},
        enabled=False,
    )
    assert isinstance(made.binding, RestBinding)
    assert (made.binding.method, made.binding.path, made.binding.fixed_query) == (
        "GET",
        "/{id}",
        (("full", "1"),),
    )
    assert [(one.name, one.location) for one in made.binding.parameters] == [("id", "path"), ("part", "query")]
    assert (made.timeout_seconds, made.rate_limit.requests_per_minute, made.enabled) == (3, 5, False)
    assert made.authentication.secret.name == "pets"
    assert made.completions == {"part": ("tail", "paw")}


def test_every_field_of_a_prompt_arrives():
    argument = {"name": "a", "title": "A", "description": "Ah.", "required": True, "completions": ["x"]}
    made = prompt(
        displayName="P",
        description="Does.",
        tags=["stoa:write"],
        arguments=[argument],
        messages=[
            {"text": "{{a}}"},
            {"role": "assistant", "image": {"data": "aW1n", "mimeType": "image/png"}},
            {"resource": {"uri": "memo://{{a}}", "mimeType": "text/plain", "text": "{{a}}"}},
        ],
    )
    assert (made.name, made.title, made.description, made.access.value) == ("memo", "P", "Does.", "stoa:write")
    assert made.arguments == (PromptArgument(**argument),)
    assert made.binding.messages == (
        StaticMessage(role="user", text="{{a}}"),
        StaticMessage(role="assistant", image=StaticImage(data="aW1n", mime_type="image/png")),
        StaticMessage(role="user", resource=StaticResource(uri="memo://{{a}}", mime_type="text/plain", text="{{a}}")),
    )


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"text": "x"}, "spec.uri, spec.uriTemplate: set exactly one"),
        ({"uri": "memo://a", "uriTemplate": "memo://{a}", "text": "x"}, "set exactly one"),
        ({"uri": "Stoa://tools/pay", "text": "x"}, "the scheme stoa is the gateway's own"),
        ({"uri": "memo://a"}, "spec.text, spec.blob, spec.endpoint: set exactly one"),
        ({"uri": "memo://a", "text": "x", "blob": ""}, "set exactly one"),
        ({"uri": "memo://a", "blob": "?"}, "spec.blob: not base64"),
        ({"uri": "ant", "text": "x"}, "spec.uri: "),
        ({"uri": "memo://{a}", "text": "x"}, "spec.uri: a uriTemplate has"),
        ({"uriTemplate": "memo://a", "endpoint": "http://a"}, "spec.uriTemplate: a uriTemplate has"),
        ({"uriTemplate": "memo://{a}", "text": "x"}, "spec.uriTemplate: needs spec.endpoint"),
        ({"uriTemplate": "memo://{+a}", "endpoint": "http://a"}, "spec.uriTemplate: write variables as"),
        ({"uriTemplate": "memo://{a}", "endpoint": "http://h/{b}"}, "spec.endpoint: {b} is not a variable"),
        ({"uriTemplate": "memo://{a}", "endpoint": "ftp://h/{a}"}, "spec.endpoint: "),
        (
            {"uriTemplate": "memo://{a}", "endpoint": "http://h/{a}", "completions": {"b": ["x"]}},
            "spec.completions: b is not a variable",
        ),
        ({"uri": "memo://a", "text": "x", "completions": {"a": ["x"]}}, "spec.completions: a is not a variable"),
        ({"uriTemplate": "memo://{a}", "endpoint": "http://h/{a}", "completions": {"a": "x"}}, "spec.completions.a: "),
    ],
)
def test_what_is_wrong_with_a_resource_is_named(spec, named):
    with pytest.raises(InvalidInput) as refused:
        resource(**spec)
    assert named in refused.value.message


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({}, "spec.messages: "),
        ({"messages": []}, "spec.messages: "),
        ({"messages": [{}]}, "spec.messages.0: set exactly one"),
        ({"messages": [{"text": "x", "role": "system"}]}, "spec.messages.0.role: "),
        (
            {"messages": [{"image": {"data": "?", "mimeType": "image/png"}}]},
            "spec.messages.0.image.data: not base64",
        ),
        ({"messages": [{"resource": {"uri": "memo://a"}}]}, "spec.messages.0.resource: set exactly one"),
        ({"messages": [{"text": "{{b}}"}]}, "spec.messages, spec.arguments: {{b}} is not one"),
        ({"messages": [{"text": "x"}], "arguments": [{"name": "a"}, {"name": "a"}]}, "spec.arguments: two"),
        ({"messages": [{"text": "x"}], "arguments": [{"name": "a b"}]}, "spec.arguments.0.name: "),
    ],
)
def test_what_is_wrong_with_a_prompt_is_named(spec, named):
    with pytest.raises(InvalidInput) as refused:
        prompt(**spec)
    assert named in refused.value.message


def test_a_label_cannot_move_a_resource_to_another_tenant():
    labels = {"gostoa.dev/tenant": "beta"}
    with pytest.raises(InvalidInput, match="disagrees"):
        parse_manifest(manifest("Resource", {"uri": "memo://a", "text": "x"}, namespace="tenant-acme", labels=labels))
