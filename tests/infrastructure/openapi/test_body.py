"""Request bodies: media types, members as arguments, forms."""

import pytest
from tests.infrastructure.openapi.documents import (
    accepts,
    api,
    binding,
    convert,
    messages,
    only_tool,
    operation,
    properties,
    swagger,
    with_body,
)

from stoa.domain.operations.tool import FormField

TEXT = {"type": "string"}
PET = {"type": "object", "required": ["name"], "properties": {"name": TEXT, "age": {"type": "integer"}}}
FORM = "application/x-www-form-urlencoded"


def post(content, required=True, path="/pets", **rest):
    return api({path: {"post": operation(requestBody={"required": required, "content": content}, **rest)}})


def test_members_of_the_body_become_arguments():
    tool = only_tool(with_body(PET))
    body = binding(tool).body
    assert body.media_type == "application/json"
    assert body.fields == {"name": "name", "age": "age"}
    assert body.required
    assert tool.input_schema["required"] == ["name"]


def test_members_of_all_branches_of_an_all_of_become_arguments():
    document = with_body(
        {
            "allOf": [
                {"$ref": "#/components/schemas/Named"},
                {"properties": {"age": {"type": "integer"}}, "required": ["age"]},
            ]
        },
        components={"schemas": {"Named": {"type": "object", "required": ["name"], "properties": {"name": TEXT}}}},
    )
    tool = only_tool(document)
    assert list(properties(tool)) == ["name", "age"]
    assert tool.input_schema["required"] == ["name", "age"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": PET},
        {"type": "string"},
        {"type": "object"},
        {"type": "object", "properties": {"a": TEXT}, "additionalProperties": True},
        {"type": "object", "additionalProperties": TEXT},
        {"oneOf": [PET, {"type": "object", "properties": {"id": TEXT}}]},
        {},
    ],
)
def test_any_other_body_is_one_argument(schema):
    tool = only_tool(with_body(schema))
    assert binding(tool).body.argument == "body"
    assert tool.input_schema["required"] == ["body"]


def test_a_member_named_like_a_parameter_keeps_an_argument_of_its_own():
    document = post({"application/json": {"schema": PET}}, path="/pets/{name}")
    tool = only_tool(document)
    assert binding(tool).body.fields == {"body_name": "name", "age": "age"}
    assert sorted(tool.input_schema["required"]) == ["body_name", "name"]


def test_a_whole_body_gives_way_to_a_parameter_named_body():
    document = post({"application/json": {"schema": {"type": "array"}}}, path="/pets/{body}")
    tool = only_tool(document)
    assert binding(tool).body.argument == "request_body"


def test_read_only_members_are_neither_offered_nor_required():
    schema = {
        "type": "object",
        "required": ["id", "name"],
        "properties": {
            "id": {"type": "integer", "readOnly": True},
            "part": {"allOf": [{"type": "object"}, {"type": "object", "readOnly": True}]},
            "made": {"$ref": "#/components/schemas/Stamp"},
            "name": TEXT,
        },
    }
    tool = only_tool(with_body(schema, components={"schemas": {"Stamp": {"type": "string", "readOnly": True}}}))
    assert list(properties(tool)) == ["name"]
    assert tool.input_schema["required"] == ["name"]


def test_a_branch_may_not_require_what_another_branch_keeps_read_only():
    nested = {
        "allOf": [{"$ref": "#/components/schemas/Base"}, {"required": ["id", "tag"], "properties": {"tag": TEXT}}]
    }
    base = {"type": "object", "properties": {"id": {"type": "integer", "readOnly": True}, "name": TEXT}}
    tool = only_tool(
        with_body({"type": "object", "properties": {"pet": nested}}, components={"schemas": {"Base": base}})
    )
    assert accepts(tool, {"pet": {"tag": "x"}})
    assert not accepts(tool, {"pet": {}})


def test_a_required_body_without_required_members_is_sent_empty():
    tool = only_tool(with_body({"type": "object", "properties": {"age": {"type": "integer"}}}))
    assert binding(tool).body.required
    assert accepts(tool, {})


def test_an_optional_body_with_required_members_is_taken_as_required_with_a_warning():
    conversion = convert(with_body(PET, required=False))
    assert conversion.tools[0].input_schema["required"] == ["name"]
    assert "taken as required" in messages(conversion)


def test_an_optional_body_of_a_delete_stays_optional():
    content = {"application/json": {"schema": PET}}
    tool = only_tool(api({"/pets": {"delete": operation(requestBody={"content": content})}}))
    assert binding(tool).body.argument == "body"
    assert accepts(tool, {})
    assert not accepts(tool, {"body": {}})


def test_a_body_that_says_nothing_is_not_sent():
    tool = only_tool(with_body({"type": "object", "properties": {}}, FORM, required=False))
    assert binding(tool).body is None


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["application/xml", "application/json", FORM], "application/json"),
        ([FORM, "application/vnd.api+json"], "application/vnd.api+json"),
        (["application/json-patch+json", "application/merge-patch+json"], "application/merge-patch+json"),
        (["multipart/form-data", FORM], FORM),
        (["text/plain", FORM], FORM),
        (["*/*"], "application/json"),
        (["application/json; charset=utf-8"], "application/json; charset=utf-8"),
    ],
)
def test_of_several_media_types_json_is_preferred(offered, chosen):
    tool = only_tool(post({name: {"schema": PET} for name in offered}))
    assert binding(tool).body.media_type == chosen


def test_a_text_body_is_one_string():
    tool = only_tool(with_body({}, "text/plain"))
    assert properties(tool)["body"]["type"] == "string"
    assert binding(tool).body.media_type == "text/plain"


@pytest.mark.parametrize("media_type", ["message/global", "message/http"])
def test_a_body_that_cannot_be_sent_costs_the_operation_only_when_required(media_type):
    needed = convert(with_body(PET, media_type))
    assert not needed.tools
    assert f"error: pets.yaml POST /pets: left out: {media_type} cannot be sent" in messages(needed)
    optional = convert(with_body(PET, media_type, required=False))
    assert binding(optional.tools[0]).body is None
    assert "the optional body is left out" in messages(optional)


def test_a_body_outside_the_document_costs_the_operation():
    conversion = convert(api({"/pets": {"post": operation(requestBody={"$ref": "bodies.yaml#/pet"})}}))
    assert not conversion.tools
    assert "is outside this document" in messages(conversion)


def test_encodings_of_a_form_are_kept():
    schema = {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": TEXT},
            "meta": {"type": "object", "properties": {"a": TEXT}},
            "raw": {"type": "object", "properties": {"a": TEXT}},
            "deep": {"type": "array", "items": {"type": "object"}},
            "name": TEXT,
        },
    }
    encoding = {
        "meta": {"style": "deepObject", "explode": True},
        "raw": {"contentType": "application/json"},
        "tags": {"explode": False},
    }
    tool = only_tool(post({FORM: {"schema": schema, "encoding": encoding}}))
    assert binding(tool).body.form == {
        "deep": FormField(is_json=True),
        "meta": FormField(style="deepObject"),
        "raw": FormField(is_json=True),
        "tags": FormField(explode=False),
    }


def test_a_body_of_version_2_is_read():
    body = {"name": "pet", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Pet"}}
    tool = only_tool(swagger({"/pets": {"post": operation(parameters=[body])}}, definitions={"Pet": PET}))
    assert binding(tool).body.fields == {"name": "name", "age": "age"}


def test_form_data_of_version_2_is_a_form():
    form = [
        {"name": "name", "in": "formData", "type": "string", "required": True},
        {"name": "tags", "in": "formData", "type": "array", "items": TEXT, "collectionFormat": "multi"},
    ]
    conversion = convert(swagger({"/pets": {"post": operation(parameters=form, consumes=[FORM])}}))
    body = binding(conversion.tools[0]).body
    assert body.media_type == FORM
    assert body.fields == {"name": "name", "tags": "tags"}
    assert body.form == {"tags": FormField(explode=True)}


def test_form_data_of_version_2_with_a_file_is_multipart():
    form = [
        {"name": "photo", "in": "formData", "type": "file", "required": True},
        {"name": "tags", "in": "formData", "type": "array", "items": TEXT, "collectionFormat": "multi"},
    ]
    body = binding(only_tool(swagger({"/pets": {"post": operation(parameters=form)}}))).body
    assert body.media_type == "multipart/form-data"
    assert body.form == {"photo": FormField(is_file=True)}


def test_branches_that_only_require_do_not_hide_the_members():
    schema = {**PET, "anyOf": [{"required": ["name"]}, {"required": ["age"]}]}
    conversion = convert(with_body(schema))
    assert list(properties(conversion.tools[0])) == ["name", "age"]
    assert "which members of the body go together" in messages(conversion)
