"""Manifests: every field does what is documented, every wrong one is named."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import json_values, manifests, tenants

from stoa.application.manifests.parse import ToolManifest, ToolSetManifest, parse_manifest
from stoa.application.ports import ConversionOptions
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import (
    ApiReference,
    Authentication,
    RestBody,
    SecretReference,
    TokenGrant,
    ToolAnnotations,
)

API = "gostoa.dev/v1alpha1"
HOST = "https://pets.example"


OAUTH2 = {"type": "oauth2", "secretRef": {"name": "pets"}, "tokenUrl": "https://auth.example/realms/stoa/token"}


def manifest(kind="Tool", metadata=None, **spec):
    return {"apiVersion": API, "kind": kind, "metadata": {"name": "pets", **(metadata or {})}, "spec": spec}


def tool(endpoint=f"{HOST}/pets", metadata=None, **spec):
    parsed = parse_manifest(manifest("Tool", metadata, endpoint=endpoint, **spec))
    assert isinstance(parsed, ToolManifest)
    return parsed.to_operation()


def options(metadata=None, **spec):
    parsed = parse_manifest(manifest("ToolSet", metadata, **{"openAPISpec": {"url": "pets.json"}, **spec}))
    assert isinstance(parsed, ToolSetManifest)
    return parsed.conversion_options()


def refusal(content):
    with pytest.raises(InvalidInput) as refused:
        parse_manifest(content)
    return refused.value.message


def schema(*names, required=()):
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(required)}


@given(manifests())
def test_every_good_manifest_is_understood(content):
    before = copy.deepcopy(content)
    parsed = parse_manifest(content)
    assert content == before
    namespace = content["metadata"].get("namespace")
    assert parsed.tenant == (namespace and namespace.removeprefix("tenant-"))
    if isinstance(parsed, ToolManifest):
        made = parsed.to_operation()
        assert (made.name, made.tenant) == (content["metadata"]["name"], parsed.tenant)
        assert made.enabled == content["spec"].get("enabled", True)
    elif isinstance(parsed, ToolSetManifest):
        assert parsed.conversion_options().tenant == parsed.tenant
    else:
        made = parsed.to_operation()
        uri = content["spec"].get("uri") or content["spec"].get("uriTemplate")
        assert (made.identifier, made.tenant) == (uri or content["metadata"]["name"], parsed.tenant)


def _places(content, path=()):
    """Every field below the document, as path."""
    for name, value in content.items():
        yield (*path, name)
        if isinstance(value, dict) and name not in {"inline", "inputSchema", "labels"}:
            yield from _places(value, (*path, name))


@given(manifests(), st.data())
def test_whatever_stands_in_a_field_it_is_taken_or_the_field_is_named(content, data):
    place = data.draw(st.sampled_from(sorted(_places(content))))
    holder = content
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = data.draw(json_values(max_leaves=3))
    try:
        parsed = parse_manifest(content)
    except InvalidInput as refused:
        assert place[0] in refused.message or "kind" in refused.message
        assert ".".join(place[:2]) in refused.message or len(place) == 1 or place[0] == "metadata"
    else:
        if isinstance(parsed, ToolSetManifest):
            parsed.conversion_options()
        else:
            parsed.to_operation()


@given(manifests(), st.data())
def test_a_field_that_does_not_exist_is_named(content, data):
    places = [(), ("spec",), *(("spec", name) for name, value in content["spec"].items() if isinstance(value, dict))]
    place = data.draw(st.sampled_from([place for place in places if place[-1:] != ("inline",)]))
    holder = content
    for name in place:
        holder = holder[name]
    holder["colour"] = "red"
    assert f"{'.'.join([*place, 'colour'])}: no such field" in refusal(content)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"baseUrl": "https://a.example"}, "spec.baseUrl: no such field; did you mean baseURL?"),
        ({"selector": {"method": ["GET"]}}, "spec.selector.method: no such field; did you mean methods?"),
        ({"selector": {"toolDefaults": {}}}, "spec.selector.toolDefaults: no such field here; check the indentation"),
        ({"zebra": 1}, "spec.zebra: no such field"),
    ],
)
def test_a_misspelt_field_gets_the_one_that_was_meant(spec, told):
    content = {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "ToolSet",
        "metadata": {"name": "pets"},
        "spec": {"openAPISpec": {"url": "pets.yaml"}, **spec},
    }
    assert refusal(content).endswith(told)


def test_every_field_of_a_tool_arrives():
    made = tool(
        f"{HOST}/v2/pets/{{petId}}?expand=all&flag",
        {"namespace": "tenant-acme", "name": "update-pet", "labels": {"gostoa.dev/tenant": "acme"}, "uid": "x"},
        displayName="Update a pet",
        description="Changes it.",
        method="PUT",
        tags=["pets", "stoa:write"],
        category="animals",
        version="2.1",
        inputSchema=schema("petId", "name", required=["petId"]),
        outputSchema={"type": "object"},
        annotations={"title": "Other", "readOnlyHint": False, "idempotentHint": True},
        apiRef={"name": "petstore", "version": "2", "operationId": "updatePet"},
        authentication={"type": "apiKey", "secretRef": {"name": "pets", "key": "k"}, "headerName": "X-Pets"},
        timeout="1.5s",
        rateLimit={"requestsPerMinute": 60, "burst": 3, "fail": "closed"},
        enabled=False,
    )
    assert (made.name, made.tenant, made.title, made.description) == (
        "update-pet", "acme", "Update a pet", "Changes it.",
    )  # fmt: skip
    assert (made.tags, made.category, made.version, made.enabled) == (("pets", "stoa:write"), "animals", "2.1", False)
    assert made.annotations == ToolAnnotations(read_only_hint=False, idempotent_hint=True)
    assert made.api == ApiReference(name="petstore", version="2", operation_id="updatePet")
    assert made.authentication == Authentication(
        type="apiKey", secret=SecretReference(name="pets", key="k"), parameter_name="X-Pets"
    )
    assert (made.timeout_seconds, made.rate_limit) == (1.5, RateLimit(requests_per_minute=60, burst=3, fail="closed"))
    binding = made.binding
    assert (binding.method, binding.base_url, binding.path) == ("PUT", f"{HOST}/v2/pets", "/{petId}")
    assert binding.fixed_query == (("expand", "all"), ("flag", ""))
    assert [(one.argument, one.location) for one in binding.parameters] == [("petId", "path")]
    assert binding.body == RestBody(media_type="application/json", fields={"name": "name"}, required=True)


def test_a_tool_that_says_little_has_the_documented_defaults():
    made = tool()
    assert (made.tenant, made.title, made.timeout_seconds, made.rate_limit, made.enabled) == (
        None, None, 30.0, None, True,
    )  # fmt: skip
    assert made.authentication == tool(authentication={"type": "none"}).authentication == Authentication()
    assert made.binding.method == "GET"
    assert made.input_schema == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert tool(annotations={"title": "Pets"}).title == "Pets"


def test_every_field_of_a_tool_set_arrives():
    made = options(
        {"namespace": "acme"},
        baseURL=f"{HOST}/v2",
        selector={
            "tags": ["a"], "excludeTags": ["b"], "methods": ["get"], "pathPrefix": "/v2", "operationIds": ["x"],
        },
        toolDefaults={
            "tags": ["t"],
            "timeout": "2m",
            "rateLimit": {"requestsPerMinute": 5},
            "authentication": {"type": "bearer", "secretRef": {"name": "s"}},
        },
        naming={"prefix": "crm_", "suffix": "_v2", "useOperationId": False},
    )  # fmt: skip
    assert made == ConversionOptions(
        tenant="acme",
        api=ApiReference(name="pets"),
        base_url=f"{HOST}/v2",
        include_tags=frozenset({"a"}),
        exclude_tags=frozenset({"b"}),
        methods=frozenset({"GET"}),
        path_prefix="/v2",
        operation_ids=frozenset({"x"}),
        name_prefix="crm_",
        name_suffix="_v2",
        use_operation_id=False,
        extra_tags=("t",),
        timeout_seconds=120.0,
        rate_limit=RateLimit(requests_per_minute=5),
        authentication=Authentication(type="bearer", secret=SecretReference(name="s")),
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30.0), ("2m", 120.0), ("0.5m", 30.0), ("1.5s", 1.5), ("5m", 300.0)]
)
def test_a_timeout_has_a_unit(text, seconds):
    assert tool(timeout=text).timeout_seconds == seconds
    assert options(toolDefaults={"timeout": text}).timeout_seconds == seconds


@pytest.mark.parametrize("wrong", ["30", 30, "s", "-1s", "1 s", "1d", "1e3s", "0s", "301s", "1h", "", None, "٣s\n"])
def test_a_timeout_without_sense_is_named(wrong):
    assert refusal(manifest(endpoint=HOST, timeout=wrong)).startswith("spec.timeout: ")
    wrong_set = manifest("ToolSet", openAPISpec={"url": "x"}, toolDefaults={"timeout": wrong})
    assert refusal(wrong_set).startswith("spec.toolDefaults.timeout: ")


@pytest.mark.parametrize("interval", ["1h", "90s", "24h"])
def test_a_refresh_interval_may_be_longer_than_any_timeout(interval):
    assert options(openAPISpec={"url": "x", "refreshInterval": interval})


def test_a_refresh_interval_of_nothing_is_refused():
    wrong = manifest("ToolSet", openAPISpec={"url": "x", "refreshInterval": "0s"})
    assert refusal(wrong).startswith("spec.openAPISpec.refreshInterval: ")


def test_an_input_schema_without_a_type_is_that_of_an_object():
    made = tool(f"{HOST}/pets", inputSchema={"properties": {"q": {"type": "string"}}, "required": ["q"]})
    assert made.input_schema["type"] == "object"
    assert tool(f"{HOST}/pets", inputSchema={}).input_schema == {"type": "object"}


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("kind", {**manifest(endpoint=HOST), "kind": "Toolset"}),
        ("kind", {}),
        ("apiVersion", {**manifest(endpoint=HOST), "apiVersion": "gostoa.dev/v1"}),
        ("metadata", {"apiVersion": API, "kind": "Tool", "spec": {"endpoint": HOST}}),
        ("metadata.name", manifest(metadata={"name": "two words"}, endpoint=HOST)),
        ("metadata.name", manifest(metadata={"name": "x" * 129}, endpoint=HOST)),
        ("metadata.namespace", manifest(metadata={"namespace": "Acme"}, endpoint=HOST)),
        ("metadata.namespace", manifest(metadata={"namespace": "tenant-"}, endpoint=HOST)),
        ("metadata.namespace", manifest(metadata={"namespace": ""}, endpoint=HOST)),
        ("metadata.namespace", manifest("ToolSet", {"namespace": "a_b"}, openAPISpec={"url": "x"})),
        ("spec.endpoint", manifest()),
        ("spec.endpoint", manifest(endpoint="ftp://pets.example")),
        ("spec.endpoint", manifest(endpoint="pets.example/pets")),
        ("spec.endpoint", manifest(endpoint="http://[pets")),
        ("spec.endpoint", manifest(endpoint="http://pets.example:port/")),
        ("spec.endpoint", manifest(endpoint="http://{host}/pets")),
        ("spec.endpoint", manifest(endpoint=f"{HOST}/pets?limit={{limit}}")),
        ("spec.method", manifest(endpoint=HOST, method="get")),
        ("spec.method", manifest(endpoint=HOST, method="CONNECT")),
        ("spec.tags", manifest(endpoint=HOST, tags="pets")),
        ("spec.enabled", manifest(endpoint=HOST, enabled="perhaps")),
        ("spec.annotations.readOnlyHint", manifest(endpoint=HOST, annotations={"readOnlyHint": "perhaps"})),
        ("spec.annotations.read_only_hint", manifest(endpoint=HOST, annotations={"read_only_hint": True})),
        ("spec.apiRef.name", manifest(endpoint=HOST, apiRef={})),
        ("spec.rateLimit.requestsPerMinute", manifest(endpoint=HOST, rateLimit={"burst": 5})),
        ("spec.rateLimit.requestsPerMinute", manifest(endpoint=HOST, rateLimit={"requestsPerMinute": 0})),
        ("spec.rateLimit.burst", manifest(endpoint=HOST, rateLimit={"requestsPerMinute": 1, "burst": 0})),
        ("spec.rateLimit.fail", manifest(endpoint=HOST, rateLimit={"requestsPerMinute": 1, "fail": "open"})),
        ("spec.rate_limit", manifest(endpoint=HOST, rate_limit={"requestsPerMinute": 1})),
        ("spec.authentication.type", manifest(endpoint=HOST, authentication={"type": "magic"})),
        ("spec.authentication", manifest(endpoint=HOST, authentication={"type": "bearer"})),
        (
            "spec.authentication.secretRef.name",
            manifest(endpoint=HOST, authentication={"type": "bearer", "secretRef": {"name": "../../etc"}}),
        ),
        ("spec.authentication", manifest(endpoint=HOST, authentication={**OAUTH2, "tokenUrl": None})),
        ("spec.authentication", manifest(endpoint=HOST, authentication={**OAUTH2, "grant": "tokenExchange"})),
        ("spec.authentication", manifest(endpoint=HOST, authentication={**OAUTH2, "type": "bearer"})),
        ("spec.authentication", manifest(endpoint=HOST, authentication={**OAUTH2, "secretRef": None})),
        (
            "spec.authentication",
            manifest(endpoint=HOST, authentication={**OAUTH2, "secretRef": {"name": "s", "key": "k"}}),
        ),
        ("spec.authentication.grant", manifest(endpoint=HOST, authentication={**OAUTH2, "grant": "password"})),
        ("spec.authentication.scopes.0", manifest(endpoint=HOST, authentication={**OAUTH2, "scopes": ["a b"]})),
        ("spec.authentication.audience", manifest(endpoint=HOST, authentication={**OAUTH2, "audience": ""})),
        ("spec.inputSchema", manifest(endpoint=HOST, inputSchema="object")),
        ("spec.inputSchema", manifest(endpoint=HOST, inputSchema={"type": "array"})),
        ("spec.inputSchema", manifest(endpoint=HOST, inputSchema={"type": "object", "properties": ["a"]})),
        ("spec.inputSchema", manifest(endpoint=HOST, inputSchema={"type": "object", "required": 5})),
        ("spec.inputSchema", manifest(endpoint=HOST, inputSchema={"type": "object", "properties": {"a": {"type": 5}}})),
        ("spec.outputSchema", manifest(endpoint=HOST, outputSchema={"type": "array"})),
        ("spec.openAPISpec", manifest("ToolSet")),
        ("spec.openAPISpec", manifest("ToolSet", openAPISpec={})),
        ("spec.openAPISpec", manifest("ToolSet", openAPISpec={"url": "x", "inline": {}})),
        ("spec.openApiSpec", manifest("ToolSet", openApiSpec={"url": "x"})),
        ("spec.baseURL", manifest("ToolSet", openAPISpec={"url": "x"}, baseURL="pets.example")),
        ("spec.baseURL", manifest("ToolSet", openAPISpec={"url": "x"}, baseURL=f"{HOST}?a=1")),
        (
            "spec.toolDefaults.rateLimit.requestsPerMinute",
            manifest("ToolSet", openAPISpec={"url": "x"}, toolDefaults={"rateLimit": {"requestsPerMinute": -1}}),
        ),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field, content):
    message = refusal(content)
    assert any(part.startswith((f"{field}:", f"{field} ", f"{field}.")) for part in message.split("; ")), message


@pytest.mark.parametrize(
    "url",
    [
        "auth.example/token",
        "ftp://auth.example/token",
        "https://",
        "https://ann:secret@auth.example/token",
        "https://auth.example/token#x",
        "https://auth.example:port/token",
        "https://auth.example/realms/stoa/../evil/token",
        "https://auth.example/realms/stoa/%2E%2e/evil/token",
        "https://auth.example/realms/stoa/..%2Fevil/token",
        "https://auth.example\\@evil.example/token",
        "https://auth.example/to ken",
    ],
)
def test_a_token_url_leads_where_it_seems_to_lead(url):
    message = refusal(manifest(endpoint=HOST, authentication={**OAUTH2, "tokenUrl": url}))
    assert message.startswith("spec.authentication.tokenUrl: write the http(s) URL")
    assert "secret" not in message


def test_how_a_token_is_had_arrives_whole():
    exchange = {**OAUTH2, "grant": "tokenExchange", "audience": "pets", "scopes": ["pets:read"]}
    made = tool(authentication=exchange).authentication
    assert made == Authentication(
        type="oauth2",
        secret=SecretReference(name="pets"),
        grant=TokenGrant(type="tokenExchange", token_url=OAUTH2["tokenUrl"], audience="pets", scopes=("pets:read",)),
    )
    assert options(toolDefaults={"authentication": exchange}).authentication == made
    assert tool(authentication=OAUTH2).authentication.grant.type == "clientCredentials"


def test_several_wrong_fields_are_all_named():
    message = refusal(manifest(endpoint=HOST, timeout="x", tags=5, colour="red"))
    assert all(f"spec.{field}: " in message for field in ("timeout", "tags", "colour"))


def test_a_wrong_value_is_not_repeated():
    assert "hunter2" not in refusal(manifest(endpoint=HOST, authentication={"type": "hunter2", "secretRef": "hunter2"}))


@given(tenants.filter(lambda name: len(name) < 50))
def test_the_tenant_is_the_namespace_without_its_prefix(name):
    namespaced = name.removeprefix("tenant-")
    assert tool(metadata={"namespace": f"tenant-{name}"}).tenant == name
    if name != "tenant-":
        assert tool(metadata={"namespace": namespaced}).tenant == namespaced.removeprefix("tenant-")
    assert options({"namespace": f"tenant-{name}"}).tenant == name


@pytest.mark.parametrize("kind", ["Tool", "ToolSet"])
@pytest.mark.parametrize(
    ("namespace", "label"), [("tenant-acme", "beta"), ("acme", "tenant-acme"), (None, "acme"), ("acme", "")]
)
def test_a_label_that_names_another_tenant_is_refused(kind, namespace, label):
    spec = {"endpoint": HOST} if kind == "Tool" else {"openAPISpec": {"url": "x"}}
    metadata = {"labels": {"gostoa.dev/tenant": label}, **({"namespace": namespace} if namespace else {})}
    message = refusal(manifest(kind, metadata, **spec))
    assert message.startswith("metadata.labels.gostoa.dev/tenant: ")


def test_placeholders_become_required_path_parameters():
    made = tool(f"{HOST}/owners/{{owner}}/pets/{{pet}}/again/{{pet}}")
    assert made.input_schema["required"] == ["owner", "pet"]
    assert [(one.argument, one.location) for one in made.binding.parameters] == [("owner", "path"), ("pet", "path")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_without_a_body_other_arguments_go_into_the_query(method):
    made = tool(f"{HOST}/pets/{{pet}}", method=method, inputSchema=schema("pet", "limit", required=["pet"]))
    assert [(one.argument, one.location) for one in made.binding.parameters] == [("pet", "path"), ("limit", "query")]
    assert made.binding.body is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_with_a_body_other_arguments_go_into_it(method):
    made = tool(f"{HOST}/pets/{{pet}}", method=method, inputSchema=schema("pet", "name", required=["pet"]))
    assert [one.argument for one in made.binding.parameters] == ["pet"]
    assert made.binding.body == RestBody(media_type="application/json", fields={"name": "name"}, required=True)
    assert tool(f"{HOST}/pets/{{pet}}", method=method).binding.body is None


@pytest.mark.parametrize("given_schema", [schema("other"), schema("pet"), schema(required=["pet"]), {"type": "object"}])
def test_a_placeholder_must_be_a_required_property(given_schema):
    message = refusal(manifest(endpoint=f"{HOST}/pets/{{pet}}", inputSchema=given_schema))
    assert message.startswith("spec.inputSchema: the endpoint needs {pet}")


def test_what_the_cluster_writes_is_ignored():
    content = manifest(endpoint=HOST, metadata={"uid": "x", "resourceVersion": "5", "managedFields": []})
    assert parse_manifest({**content, "status": {"phase": "Registered"}})


def test_a_schema_that_contains_itself_is_refused():
    endless = {"type": "object"}
    endless["properties"] = {"a": endless}
    assert "without cycles" in refusal(manifest(endpoint=HOST, inputSchema=endless))


@pytest.mark.parametrize("support", ["never", "optional", "required"])
def test_a_tool_says_whether_its_calls_may_go_on_in_the_background(support):
    assert tool(tasks=support).tasks == support
    assert tool().tasks == "never"


def test_only_a_python_function_can_say_when_its_task_begins():
    assert "tasks" in refusal(manifest("Tool", endpoint=f"{HOST}/pets", tasks="explicit"))


@pytest.mark.parametrize(
    ("endpoint", "base", "path"),
    [
        (HOST, HOST, "/"),
        (f"{HOST}/", HOST, "/"),
        (f"{HOST}/{{id}}", HOST, "/{id}"),
        (f"{HOST}/orders", f"{HOST}/orders", ""),
        (f"{HOST}/orders/", f"{HOST}/orders", "/"),
        (f"{HOST}/v1/orders/{{id}}/lines", f"{HOST}/v1/orders", "/{id}/lines"),
        (f"{HOST}/v1/order-{{id}}", f"{HOST}/v1", "/order-{id}"),
    ],
)
def test_redirects_of_a_hand_written_tool_stay_below_what_its_endpoint_says_before_any_argument(endpoint, base, path):
    names = ("id",) if "{id}" in endpoint else ()
    binding = tool(endpoint, inputSchema=schema(*names, required=[*names])).binding
    assert (binding.base_url, binding.path) == (base, path)


def test_authentication_may_be_a_list_of_credentials_that_go_together():
    first = {"scheme": "key", "secretRef": {"name": "k"}}
    second = {"type": "apiKey", "secretRef": {"name": "a"}, "in": "query", "headerName": "app"}
    written = options(toolDefaults={"authentication": [first, second]}).authentication
    assert written == options(toolDefaults={"authentication": {**first, "also": [second]}}).authentication
    assert [(entry.scheme, entry.location, entry.parameter_name) for entry in written.entries] == [
        ("key", "header", "X-API-Key"),
        (None, "query", "app"),
    ]


@pytest.mark.parametrize(
    ("authentication", "problem"),
    [
        ([], "write a list of credentials"),
        ({"scheme": "key"}, "scheme needs secretRef"),
        ([{"type": "bearer", "secretRef": {"name": "s"}}, OAUTH2], "type oauth2 first"),
    ],
)
def test_authentication_that_cannot_be_sent_is_refused(authentication, problem):
    assert problem in refusal(manifest(endpoint=HOST, authentication=authentication))
