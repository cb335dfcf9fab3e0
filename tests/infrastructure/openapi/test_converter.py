"""The tool as a whole: names, servers, texts, hints, selection, and one bad part among good ones."""

import pytest
from tests.infrastructure.openapi.documents import (
    BASE,
    api,
    binding,
    convert,
    messages,
    only_tool,
    operation,
    swagger,
)

from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import ApiReference, Authentication, SecretReference, ToolAnnotations


def names(document, **options):
    return [tool.name for tool in convert(document, **options).tools]


def one(method="get", **content):
    return api({"/pets": {method: operation(**content)}})


# -- names


@pytest.mark.parametrize(
    ("operation_id", "name"),
    [
        ("listPets", "listPets"),
        ("repos/get-content", "repos_get-content"),
        ("orders.create", "orders_create"),
        (7, "7"),
    ],
)
def test_the_operation_id_names_the_tool(operation_id, name):
    assert names(one(operationId=operation_id)) == [name]


def test_without_operation_id_method_and_path_name_the_tool():
    assert names(api({"/pets/{petId}/toys": {"get": {"responses": {}}}})) == ["get_pets_petId_toys"]
    assert names(one(operationId="listPets"), use_operation_id=False) == ["get_pets"]


def test_prefix_and_suffix_are_added():
    assert names(one(operationId="list"), name_prefix="shop_", name_suffix="_v1") == ["shop_list_v1"]


# -- servers


@pytest.mark.parametrize(
    ("servers", "base"),
    [
        ([{"url": "https://a.example/v2/"}], "https://a.example/v2"),
        ([{"url": "wss://a.example"}, {"url": "http://b.example"}], "http://b.example"),
        (
            [
                {
                    "url": "{scheme}://{host}/v1",
                    "variables": {"scheme": {"default": "http"}, "host": {"enum": ["h.example"]}},
                }
            ],
            "http://h.example/v1",
        ),
        ([{"url": "/v3"}], "https://docs.example/v3"),
        ([{"url": "../v3"}], "https://docs.example/v3"),
        ([], "https://docs.example"),
    ],
)
def test_the_first_usable_server_is_called(servers, base):
    document = {**one(), "servers": servers}
    (tool,) = convert(document, location="https://docs.example/specs/pets.json").tools
    assert binding(tool).base_url == base


def test_relative_servers_of_an_operation_in_a_file_are_on_the_host_of_the_document():
    conversion = convert(
        api({"/a": {"get": operation(servers=[{"url": "/{v}", "variables": {"v": {"default": "v9"}}}])}})
    )
    assert binding(conversion.tools[0]).base_url == "https://api.example.com/v9"
    assert "servers of operations (/v9) are relative" in messages(conversion)
    unknown = convert({**api({"/a": {"get": operation(servers=[{"url": "/v9"}])}}), "servers": [{"url": "/"}]})
    assert not unknown.tools


def test_the_nearest_servers_count():
    own, item = [{"url": "https://op.example"}], [{"url": "https://path.example"}]
    paths = {"/a": {"servers": item, "get": operation(), "put": operation(operationId="put", servers=own)}}
    bases = {tool.name: binding(tool).base_url for tool in convert(api(paths)).tools}
    assert bases == {"act": "https://path.example", "put": "https://op.example"}


def test_the_base_url_of_the_tool_set_replaces_every_server():
    paths = {"/a": {"get": operation(servers=[{"url": "https://op.example/x"}])}}
    assert binding(only_tool(api(paths), base_url="http://127.0.0.1:8080/api/")).base_url == "http://127.0.0.1:8080/api"


@pytest.mark.parametrize(
    ("said", "location", "base"),
    [
        ({"schemes": ["http"]}, "f.yaml", "http://api.example.com/v1"),
        ({"schemes": ["ws", "http", "https"]}, "f.yaml", "https://api.example.com/v1"),
        ({}, "http://docs.example/s.json", "http://api.example.com/v1"),
        ({"host": None}, "http://docs.example:81/s.json", "http://docs.example:81/v1"),
        ({"basePath": "/"}, "f.yaml", "https://api.example.com"),
    ],
)
def test_version_2_names_host_base_path_and_schemes(said, location, base):
    (tool,) = convert({**swagger({"/a": {"get": operation()}}), **said}, location=location).tools
    assert binding(tool).base_url == base


@pytest.mark.parametrize(
    "url", ["/v1", "", "https://{unknown}/v1", "ftp://a.example", "https://user:secret@a.example", None]
)
def test_without_a_usable_server_one_finding_says_what_to_set(url):
    paths = {"/a": {"get": operation()}, "/b": {"get": operation(operationId="b")}}
    conversion = convert({**api(paths), "servers": [{"url": url}]})
    assert not conversion.tools
    assert messages(conversion).startswith("error: pets.yaml: 2 operations are left out: no usable server")
    assert "spec.baseURL" in messages(conversion)


# -- where a credential goes

KEY = Authentication(type="bearer", secret=SecretReference(name="pets"))
FOREIGN = [{"url": "https://evil.example/api"}]


@pytest.mark.parametrize(
    "servers",
    [
        FOREIGN,
        [{"url": "//evil.example/api"}],
        [{"url": "https://{host}/api", "variables": {"host": {"default": "evil.example"}}}],
        [{"url": "http://docs.example/api"}],
        [{"url": "https://docs.example:8443/api"}],
        [{"url": "https://docs.example.:443/api"}],
        [{"url": "https://docs.example:99999/api"}],
        [{"url": "ftp://docs.example"}, *FOREIGN],
    ],
)
@pytest.mark.parametrize("place", ["document", "path", "operation"])
def test_a_credential_does_not_follow_a_fetched_description_to_another_origin(servers, place):
    item = {"get": operation(operationId="own"), "put": operation(operationId="other")}
    paths = {"/a": item, "/b": {"get": operation(operationId="third", servers=[{"url": "/v1"}])}}
    document = api(paths)
    document.pop("servers", None)
    {"document": document, "path": item, "operation": item["put"]}[place]["servers"] = servers
    conversion = convert(document, location="https://docs.example/specs/pets.json", authentication=KEY)
    expected = {"document": {"third"}, "path": {"third"}, "operation": {"own", "third"}}[place]
    assert {tool.name for tool in conversion.tools} == expected
    assert all(binding(tool).base_url.startswith("https://docs.example") for tool in conversion.tools)
    assert "set spec.baseURL if that is meant" in messages(conversion)
    assert len(conversion.withheld_origins) == 1


@pytest.mark.parametrize("host", ["evil.example", "docs.example:81"])
def test_a_credential_does_not_follow_the_host_of_version_2(host):
    document = {**swagger({"/a": {"get": operation()}}), "host": host}
    assert not convert(document, location="https://docs.example/s.json", authentication=KEY).tools


@pytest.mark.parametrize(
    ("location", "options"),
    [
        ("https://docs.example/s.json", {}),
        ("https://docs.example/s.json", {"authentication": KEY, "base_url": "https://api.example"}),
        ("catalogue/pets.yaml", {"authentication": KEY}),
        ("https://evil.example/s.json", {"authentication": KEY}),
        ("HTTPS://EVIL.example:443/s.json", {"authentication": KEY}),
    ],
)
def test_a_credential_goes_where_the_manifest_or_the_descriptions_own_origin_says(location, options):
    document = {**api({"/a": {"get": operation()}}), "servers": FOREIGN}
    conversion = convert(document, location=location, **options)
    assert len(conversion.tools) == 1
    assert not conversion.withheld_origins


# -- texts and hints


@pytest.mark.parametrize(
    ("content", "title", "description"),
    [
        ({"summary": "List pets", "description": "All of them."}, "List pets", "List pets. All of them."),
        (
            {"summary": "List pets.", "description": "List pets that are here."},
            "List pets.",
            "List pets that are here.",
        ),
        ({"summary": "List pets"}, "List pets", "List pets"),
        ({"summary": "Old", "deprecated": True}, "Old", "Deprecated. Old"),
        ({}, None, "GET /pets"),
    ],
)
def test_summary_and_description_are_told_once(content, title, description):
    tool = only_tool(one(**content))
    assert (tool.title, tool.description) == (title, description)


def test_a_long_description_is_cut_at_a_sentence():
    tool = only_tool(one(description="This is a sentence. " * 100))
    assert len(tool.description) <= 1024
    assert tool.description.endswith("sentence.")


@pytest.mark.parametrize(
    ("method", "read_only", "destructive", "idempotent"),
    [
        ("get", True, False, None),
        ("head", True, False, None),
        ("options", True, False, None),
        ("post", False, None, None),
        ("put", False, None, True),
        ("patch", False, None, None),
        ("delete", False, True, True),
    ],
)
def test_hints_follow_the_method(method, read_only, destructive, idempotent):
    assert only_tool(one(method)).hints == ToolAnnotations(
        read_only_hint=read_only, destructive_hint=destructive, idempotent_hint=idempotent, open_world_hint=True
    )


def test_options_of_the_tool_set_reach_the_tool():
    key = Authentication(type="bearer", secret=SecretReference(name="pets"))
    limit = RateLimit(requests_per_minute=5)
    tool = only_tool(
        one(tags=["pets"]),
        tenant="acme",
        extra_tags=("stoa:read", "pets"),
        timeout_seconds=5,
        rate_limit=limit,
        authentication=key,
    )
    assert (tool.tenant, tool.tags, tool.timeout_seconds) == ("acme", ("pets", "stoa:read"), 5)
    assert (tool.rate_limit, tool.authentication) == (limit, key)


def test_the_api_is_named_after_the_document_or_the_tool_set():
    assert only_tool(one()).api == ApiReference(name="pets", version="1.2.0", operation_id="act")
    named = only_tool(one(), api=ApiReference(name="shop"))
    assert named.api == ApiReference(name="shop", version="1.2.0", operation_id="act")
    assert named.version == "1.2.0"


def test_a_description_cannot_lower_the_access_that_its_tools_need():
    conversion = convert(one("delete", tags=["stoa:read", "pets"]))
    assert conversion.tools[0].tags == ("pets",)
    assert conversion.tools[0].access == "stoa:admin"
    assert "use toolDefaults.tags" in messages(conversion)


# -- selection

SHOP = api(
    {
        "/pets": {
            "get": operation(operationId="list", tags=["pets"]),
            "post": operation(operationId="add", tags=["pets", "admin"]),
        },
        "/orders": {"get": operation(operationId="orders", tags=["orders"])},
    }
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["list", "add", "orders"]),
        ({"include_tags": frozenset({"pets"})}, ["list", "add"]),
        ({"exclude_tags": frozenset({"admin"})}, ["list", "orders"]),
        ({"methods": frozenset({"POST"})}, ["add"]),
        ({"path_prefix": "/orders"}, ["orders"]),
        ({"operation_ids": frozenset({"add", "orders"})}, ["add", "orders"]),
        ({"include_tags": frozenset({"pets"}), "methods": frozenset({"GET"})}, ["list"]),
    ],
)
def test_selection_keeps_what_all_conditions_allow(options, expected):
    assert names(SHOP, **options) == expected


def test_a_selected_id_that_does_not_exist_is_told():
    assert "no operation has the id 'gone'" in messages(convert(SHOP, operation_ids=frozenset({"gone"})))


# -- bad parts


def test_one_bad_operation_does_not_take_the_others_with_it():
    paths = {
        "/good": {"get": operation(operationId="good")},
        "/bad": {"get": 5},
        "/outside": {"$ref": "other.yaml#/paths/x"},
        "/file": {"post": operation(requestBody={"required": True, "content": {"message/http": {}}})},
        "x-note": {"get": "ignored"},
    }
    conversion = convert(api(paths))
    assert [tool.name for tool in conversion.tools] == ["good"]
    assert [finding.where for finding in conversion.findings] == [
        "pets.yaml GET /bad",
        "pets.yaml /outside",
        "pets.yaml POST /file",
    ]


def test_a_path_item_may_be_a_reference():
    item = {"get": operation(operationId="there")}
    document = api({"/a": {"$ref": "#/components/pathItems/a"}}, "3.1.0", components={"pathItems": {"a": item}})
    assert names(document) == ["there"]


def test_other_methods_of_3_2_are_operations():
    paths = {
        "/a": {"query": operation(operationId="ask"), "additionalOperations": {"COPY": operation(operationId="copy")}}
    }
    methods = {tool.name: binding(tool).method for tool in convert(api(paths, "3.2.0")).tools}
    assert methods == {"ask": "QUERY", "copy": "COPY"}


def test_a_method_that_cannot_be_sent_costs_its_operation():
    conversion = convert(api({"/a": {"additionalOperations": {"M-SEARCH": operation()}}}, "3.2.0"))
    assert not conversion.tools
    assert "error: pets.yaml M-SEARCH /a: left out: cannot be expressed as a tool (method)" in messages(conversion)


def test_callbacks_and_webhooks_yield_no_tools():
    callback = {"done": {"{$request.body#/url}": {"post": operation(operationId="callback")}}}
    document = {
        **one(callbacks=callback),
        "openapi": "3.1.0",
        "webhooks": {"new": {"post": operation(operationId="hook")}},
    }
    assert names(document) == ["act"]


def test_a_refused_document_says_where():
    with pytest.raises(InvalidInput, match=r"^specs/pets\.yaml: line 1: "):
        convert("just text", location="specs/pets.yaml")


def test_the_base_url_is_kept_as_given():
    assert binding(only_tool(one())).base_url == BASE
