"""Parameters: places, styles, names."""

import pytest
from tests.infrastructure.openapi.documents import (
    accepts,
    api,
    binding,
    convert,
    messages,
    only_tool,
    operation,
    parameter,
    properties,
    swagger,
    with_parameters,
)

from stoa.domain.operations.tool import Authentication, SecretReference

TEXT = {"type": "string"}


def test_every_place_is_bound_with_its_own_default_style():
    tool = only_tool(
        with_parameters(
            {"name": "id", "in": "path", "required": True, "schema": TEXT},
            {"name": "q", "in": "query", "schema": TEXT},
            {"name": "X-Trace", "in": "header", "schema": TEXT},
            {"name": "session", "in": "cookie", "schema": TEXT},
            path="/pets/{id}",
        )
    )
    found = [(p.name, p.location, p.style, p.explode) for p in binding(tool).parameters]
    assert found == [
        ("id", "path", "simple", False),
        ("q", "query", "form", True),
        ("X-Trace", "header", "simple", False),
        ("session", "cookie", "form", True),
    ]
    assert tool.input_schema["required"] == ["id"]


@pytest.mark.parametrize(
    ("place", "said", "style", "explode"),
    [
        ("query", {"style": "deepObject"}, "deepObject", True),
        ("query", {"style": "pipeDelimited"}, "pipeDelimited", False),
        ("query", {"explode": False}, "form", False),
        ("path", {"style": "matrix", "explode": True}, "matrix", True),
        ("path", {"style": "label"}, "label", False),
        ("header", {"explode": True}, "simple", True),
        ("cookie", {"style": "cookie"}, "form", True),
    ],
)
def test_styles_are_kept(place, said, style, explode):
    tool = only_tool(
        with_parameters(
            {"name": "p", "in": place, "required": True, "schema": TEXT, **said},
            path="/{p}" if place == "path" else "/",
        )
    )
    assert (parameter(tool, "p").style, parameter(tool, "p").explode) == (style, explode)


def test_a_style_that_its_place_does_not_have_is_reported_and_replaced():
    conversion = convert(with_parameters({"name": "p", "in": "query", "style": "matrix", "schema": TEXT}))
    assert parameter(conversion.tools[0], "p").style == "form"
    assert "style 'matrix' is not possible here" in messages(conversion)


@pytest.mark.parametrize(
    ("place", "collection", "style", "explode"),
    [
        ("query", None, "form", False),
        ("query", "csv", "form", False),
        ("query", "multi", "form", True),
        ("query", "ssv", "spaceDelimited", False),
        ("query", "tsv", "tabDelimited", False),
        ("query", "pipes", "pipeDelimited", False),
        ("header", "csv", "simple", False),
        ("path", None, "simple", False),
    ],
)
def test_collection_formats_of_version_2_become_styles(place, collection, style, explode):
    said = {"name": "p", "in": place, "required": True, "type": "array", "items": TEXT}
    said |= {"collectionFormat": collection} if collection else {}
    tool = only_tool(swagger({"/{p}" if place == "path" else "/": {"get": operation(parameters=[said])}}))
    assert (parameter(tool, "p").style, parameter(tool, "p").explode) == (style, explode)
    bounds = {"minItems": 1} if place == "path" else {}
    assert properties(tool)["p"] == {"type": "array", "items": TEXT, **bounds}


@pytest.mark.parametrize(
    ("schema", "meant"),
    [
        ({"anyOf": [TEXT, {"type": "null"}], "default": None}, TEXT),
        ({"type": ["string", "null"]}, TEXT),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
        ({"anyOf": [TEXT, {"type": "integer"}, {"type": "null"}]}, {"anyOf": [TEXT, {"type": "integer"}]}),
        ({"anyOf": [TEXT, {"type": "null"}], "minLength": 1}, {"minLength": 1, "allOf": [TEXT]}),
    ],
)
def test_null_for_an_optional_parameter_means_that_it_is_left_out_so_it_is_no_value(schema, meant):
    assert properties(only_tool(with_parameters({"name": "q", "in": "query", "schema": schema}, version="3.1.0"))) == {
        "q": meant
    }


@pytest.mark.parametrize("schema", [{"type": "array", "items": TEXT}, {"$ref": "#/components/schemas/Ids"}])
def test_parameter_list_in_a_path_has_an_entry_because_a_path_has_no_holes(schema):
    ids = {"name": "ids", "in": "path", "required": True, "schema": schema}
    tool = only_tool(
        with_parameters(ids, path="/pets/{ids}", components={"schemas": {"Ids": {"type": "array", "items": TEXT}}})
    )
    assert properties(tool) == {"ids": {"type": "array", "items": TEXT, "minItems": 1}}


@pytest.mark.parametrize("is_required", [True, False])
def test_parameters_of_a_query_string_that_is_a_form_are_its_fields(is_required):
    form = {"type": "object", "required": ["a"], "properties": {"a": TEXT, "b": {"type": "array", "items": TEXT}}}
    content = {"application/x-www-form-urlencoded": {"schema": form}}
    tool = only_tool(
        with_parameters(
            {"name": "all", "in": "querystring", "required": is_required, "content": content}, version="3.2.0"
        )
    )
    assert [(bound.name, bound.location, bound.explode) for bound in binding(tool).parameters] == [
        ("a", "query", True),
        ("b", "query", True),
    ]
    assert tool.input_schema.get("required") == (["a"] if is_required else None)


def test_null_stays_a_value_where_a_parameter_is_sent_as_json_or_is_required():
    schema = {"type": ["string", "null"]}
    tool = only_tool(
        with_parameters(
            {"name": "q", "in": "query", "content": {"application/json": {"schema": schema}}},
            {"name": "r", "in": "query", "required": True, "schema": schema},
            version="3.1.0",
        )
    )
    assert properties(tool) == {"q": schema, "r": schema}


def test_the_operation_overrides_the_path_item_by_name_and_place():
    item = {
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
            {"name": "id", "in": "query", "schema": {"type": "boolean"}},
        ],
        "get": operation(parameters=[{"name": "id", "in": "path", "required": True, "schema": TEXT}]),
    }
    tool = only_tool(api({"/pets/{id}": item}))
    assert properties(tool)["id"]["type"] == "string"
    assert properties(tool)["id_query"]["type"] == "boolean"
    assert [(p.argument, p.location) for p in binding(tool).parameters] == [("id", "path"), ("id_query", "query")]


def test_parameters_are_found_behind_references_with_escaped_names():
    document = with_parameters(
        {"$ref": "#/components/parameters/a~1b%20c"},
        components={"parameters": {"a/b c": {"name": "limit", "in": "query", "schema": {"type": "integer"}}}},
    )
    assert properties(only_tool(document))["limit"]["type"] == "integer"


@pytest.mark.parametrize(
    "reference", ["other.yaml#/limit", "#/components/parameters/none", "https://a.example/p", "#anchor"]
)
def test_a_parameter_that_cannot_be_found_costs_only_itself(reference):
    conversion = convert(with_parameters({"$ref": reference}, {"name": "q", "in": "query", "schema": TEXT}))
    assert list(properties(conversion.tools[0])) == ["q"]
    assert "warning: pets.yaml GET /pets: a parameter is left out" in messages(conversion)


def test_content_of_a_parameter_is_sent_as_json():
    schema = {"type": "object", "properties": {"a": TEXT}}
    tool = only_tool(
        with_parameters({"name": "filter", "in": "query", "content": {"application/json": {"schema": schema}}})
    )
    assert parameter(tool, "filter").is_json
    assert properties(tool)["filter"]["properties"] == {"a": TEXT}


@pytest.mark.parametrize("name", ["Accept", "content-type", "AUTHORIZATION"])
def test_headers_that_openapi_ignores_are_no_arguments(name):
    assert properties(only_tool(with_parameters({"name": name, "in": "header", "schema": TEXT}))) == {}


@pytest.mark.parametrize("name", ["Host", "Content-Length", "proxy-authorization", "no name", "a\r\nb"])
def test_headers_that_are_not_the_callers_are_left_out(name):
    conversion = convert(with_parameters({"name": name, "in": "header", "schema": TEXT}))
    assert properties(conversion.tools[0]) == {}
    assert "is left out" in messages(conversion)


def test_a_required_parameter_that_cannot_be_sent_costs_the_operation():
    conversion = convert(with_parameters({"name": "all", "in": "trailer", "required": True, "schema": TEXT}))
    assert not conversion.tools
    assert "error: pets.yaml GET /pets: left out: the required parameter 'all'" in messages(conversion)


def test_the_key_that_the_gateway_sends_is_no_argument():
    key = Authentication(type="apiKey", location="query", parameter_name="token", secret=SecretReference(name="s"))
    document = with_parameters({"name": "token", "in": "query", "required": True, "schema": TEXT})
    assert properties(only_tool(document, authentication=key)) == {}
    assert list(properties(only_tool(document))) == ["token"]


def test_a_placeholder_that_nobody_declared_becomes_a_required_argument():
    conversion = convert(with_parameters(path="/pets/{id}"))
    assert conversion.tools[0].input_schema["required"] == ["id"]
    assert "path parameter 'id' is not declared" in messages(conversion)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("filter[name]", "filter_name"),
        ("$top", "top"),
        ("@id", "id"),
        ("Start<", "Start_lt"),
        ("größe", "grosse"),
        ("list.size", "list.size"),
    ],
)
def test_names_that_clients_refuse_are_rewritten_and_mapped(name, key):
    tool = only_tool(with_parameters({"name": name, "in": "query", "schema": TEXT}))
    assert list(properties(tool)) == [key]
    assert parameter(tool, name).argument == key


def test_a_rewritten_name_never_takes_the_place_of_a_given_one():
    tool = only_tool(
        with_parameters(
            {"name": "a[b]", "in": "query", "schema": {"type": "integer"}},
            {"name": "a_b", "in": "query", "schema": {"type": "boolean"}},
        )
    )
    assert parameter(tool, "a_b").argument == "a_b"
    assert parameter(tool, "a[b]").argument == "a_b_query"


def test_a_very_long_name_is_shortened():
    tool = only_tool(with_parameters({"name": "x" * 200, "in": "query", "schema": TEXT}))
    (key,) = properties(tool)
    assert len(key) == 64
    assert parameter(tool, "x" * 200).argument == key


def test_query_and_fragment_of_a_path_key_are_taken_apart():
    paths = {
        "/files?action=move&flag=": {"post": operation(operationId="move")},
        "/files?action=copy#deep": {"post": operation(operationId="copy")},
        "/files#search": {"post": {"responses": {}}},
    }
    tools = {tool.name: binding(tool) for tool in convert(api(paths)).tools}
    assert tools["move"].fixed_query == (("action", "move"), ("flag", ""))
    assert tools["copy"].fixed_query == (("action", "copy"),)
    assert {one.path for one in tools.values()} == {"/files"}
    assert "post_files_search" in tools


def test_a_query_in_the_path_gives_way_to_a_parameter_of_that_name():
    tool = only_tool(with_parameters({"name": "x", "in": "query", "schema": TEXT}, path="/files?x={x}&y=1"))
    assert binding(tool).fixed_query == (("y", "1"),)


def test_uri_template_operators_are_understood():
    name = {"name": "name", "in": "path", "required": True, "schema": TEXT}
    assert binding(only_tool(with_parameters(name, path="/v1/{+name}{?page,size}"))).path == "/v1/{name}"


@pytest.mark.parametrize("path", ["/a/../b", "/./a", "/%2e%2E/x"])
def test_a_path_that_climbs_is_refused(path):
    assert "the path has a segment" in messages(convert(with_parameters(path=path)))


def test_descriptions_are_kept_short_and_without_markup():
    said = "<p>The <code>id</code> of a [pet](https://a.example/pets).</p> " + "Many words follow. " * 100
    tool = only_tool(with_parameters({"name": "q", "in": "query", "description": said, "schema": TEXT}))
    shown = properties(tool)["q"]["description"]
    assert shown.startswith("The id of a pet. Many words follow.")
    assert len(shown) <= 300


def test_unknown_arguments_are_refused():
    tool = only_tool(with_parameters({"name": "q", "in": "query", "schema": TEXT}))
    assert accepts(tool, {"q": "x"})
    assert not accepts(tool, {"other": "x"})


@pytest.mark.parametrize(("declared", "path"), [("id", "/a/:id/b"), ("id", "/a/:id"), ("petId", "/a/:petId/{b}")])
def test_path_segment_with_a_colon_is_the_placeholder_of_a_declared_parameter(declared, path):
    number = {"name": declared, "in": "path", "required": True, "schema": {"type": "integer"}}
    conversion = convert(with_parameters(number, path=path))
    assert binding(conversion.tools[0]).path.startswith(f"/a/{{{declared}}}")
    assert properties(conversion.tools[0])[declared] == {"type": "integer"}
    assert "are taken for placeholders" in messages(conversion)


def test_path_segment_with_a_colon_that_no_parameter_has_is_text():
    number = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    assert binding(only_tool(with_parameters(number, path="/a/{id}/:undelete"))).path == "/a/{id}/:undelete"


@pytest.mark.parametrize(
    ("names", "path"), [(["pet_id"], "/a/{petId}"), (["PETID", "o"], "/a/{petId}/{o}"), (["x"], "/a/{petId}")]
)
def test_path_parameter_that_is_spelt_otherwise_describes_the_placeholder(names, path):
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "integer"}} for name in names]
    conversion = convert(with_parameters(*parameters, path=path))
    assert properties(conversion.tools[0])["petId"] == {"type": "integer"}
    assert "is taken for the placeholder 'petId'" in messages(conversion)


def test_path_parameter_that_could_be_one_of_two_placeholders_describes_none():
    number = {"name": "x", "in": "path", "required": True, "schema": {"type": "integer"}}
    tool = only_tool(with_parameters(number, path="/a/{b}/{c}"))
    assert properties(tool) == {"b": {"type": "string"}, "c": {"type": "string"}}


@pytest.mark.parametrize(("kind", "empty", "given"), [("object", {}, {"a": 1}), ("array", [], [1])])
def test_path_parameter_that_would_be_empty_is_refused_by_its_schema(kind, empty, given):
    tool = only_tool(with_parameters({"name": "o", "in": "path", "schema": {"type": kind}}, path="/a/{o}"))
    assert accepts(tool, {"o": given})
    assert not accepts(tool, {"o": empty})


def test_content_of_a_parameter_is_json_where_it_may_be():
    content = {"text/plain": {"schema": TEXT}, "application/json": {"schema": {"type": "object"}}}
    tool = only_tool(with_parameters({"name": "f", "in": "query", "content": content}))
    assert parameter(tool, "f").is_json
