"""References by name (`$id`, `$anchor`, `$dynamicRef`) and into definitions that were pasted in with a schema."""

import pytest
from tests.infrastructure.openapi.documents import accepts, convert, messages, only_tool, with_body

from stoa.application.ports import ConversionOptions, SpecDocument, SpecFile
from stoa.infrastructure.openapi import OpenApiConverter

TEXT = {"type": "string"}
BODY = {"type": "object", "properties": {"x": {"$ref": "#/components/schemas/X"}}}


def tool_with(schema, body=BODY, version="3.1.0", **others):
    return only_tool(with_body(body, version=version, components={"schemas": {"X": schema, **others}}))


@pytest.mark.parametrize(
    "reference", ["https://ex.com/schemas/address", "https://ex.com/schemas/address#", "address", "#place"]
)
def test_reference_by_id_or_anchor_leads_to_the_schema_of_that_name(reference):
    address = {"$id": "https://ex.com/schemas/address", "$anchor": "place", "type": "object", "required": ["zip"]}
    tool = tool_with({"$ref": reference}, Address={**address, "properties": {"zip": TEXT}})
    assert accepts(tool, {"x": {"zip": "1"}})
    assert not accepts(tool, {"x": {}})


def test_reference_by_id_may_go_on_as_a_pointer_or_an_anchor():
    inner = {"zip": {"$anchor": "zip", "type": "integer"}}
    address = {"$id": "https://ex.com/address", "type": "object", "properties": inner}
    for fragment in ("/properties/zip", "zip"):
        tool = tool_with({"$ref": f"https://ex.com/address#{fragment}"}, Address=address)
        assert accepts(tool, {"x": 1})
        assert not accepts(tool, {"x": "one"})


@pytest.mark.parametrize("member", ["$defs", "definitions"])
@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_reference_into_definitions_that_came_with_a_schema_means_its_own(member, version):
    schema = {
        "type": "object",
        "properties": {"n": {"$ref": f"#/{member}/N"}},
        member: {"N": {"type": "object", "properties": {"m": {"$ref": f"#/{member}/M"}}}, "M": {"type": "integer"}},
    }
    tool = tool_with(schema, version=version)
    assert accepts(tool, {"x": {"n": {"m": 1}}})
    assert not accepts(tool, {"x": {"n": {"m": "one"}}})


def test_reference_to_the_root_of_a_schema_with_an_id_is_a_recursion():
    tool = tool_with({"$id": "https://ex.com/t", "type": "object", "properties": {"v": TEXT, "t": {"$ref": "#"}}})
    assert accepts(tool, {"x": {"t": {"t": {"v": "a"}}}})
    assert not accepts(tool, {"x": {"t": {"t": {"v": 1}}}})


def test_dynamic_reference_without_another_definition_leads_to_its_own():
    tree = {"$dynamicAnchor": "node", "type": "object", "properties": {"v": TEXT}}
    tree["properties"]["kids"] = {"type": "array", "items": {"$dynamicRef": "#node"}}
    tool = tool_with(tree)
    assert accepts(tool, {"x": {"kids": [{"v": "a"}]}})
    assert not accepts(tool, {"x": {"kids": [{"v": 1}]}})


@pytest.mark.parametrize("form", ["$ref", "allOf"])
def test_dynamic_reference_of_a_generic_schema_leads_to_what_its_user_defines(form):
    def listed(anchor, schema):
        use = {"$ref": "#/components/schemas/List"}
        own = {"$defs": {"T": {"$dynamicAnchor": anchor, **schema}}}
        return {**own, **use} if form == "$ref" else {**own, "allOf": [use]}

    generic = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"$dynamicRef": "#T"}}},
        "$defs": {"T": {"$dynamicAnchor": "T", "not": {}}},
    }
    body = {"type": "object", "properties": {"x": listed("T", TEXT), "y": listed("T", {"type": "integer"})}}
    tool = only_tool(with_body(body, version="3.1.0", components={"schemas": {"List": generic}}))
    assert accepts(tool, {"x": {"items": ["a"]}, "y": {"items": [1]}})
    assert not accepts(tool, {"x": {"items": [1]}})
    assert not accepts(tool, {"y": {"items": ["a"]}})


def test_reference_by_a_name_that_nothing_has_is_a_finding():
    conversion = convert(with_body({"type": "object", "properties": {"x": {"$ref": "#absent"}}}, version="3.1.0"))
    assert "anything is accepted here" in messages(conversion)


def test_reference_by_id_is_no_file_that_is_missing():
    """Fetching looked for a file of this name in vain."""
    schema = {"$id": "https://ex.com/a", "type": "object", "properties": {"b": {"$ref": "b"}}}
    text = with_body(BODY, version="3.1.0", components={"schemas": {"X": schema, "B": {"$id": "https://ex.com/b"}}})
    text["components"]["schemas"]["B"]["type"] = "integer"
    document = SpecDocument("d.json", str(text).replace("'", '"').replace("True", "true"), name="d.json")
    document = SpecDocument(document.location, document.text, files=(SpecFile("b", "", "is not there"),), name="d.json")
    conversion = OpenApiConverter().convert(document, ConversionOptions())
    assert not accepts(conversion.tools[0], {"x": {"b": "one"}})
    assert accepts(conversion.tools[0], {"x": {"b": 1}})
