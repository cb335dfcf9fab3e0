"""Discriminators select alternatives: in hierarchies and in lists of branches, in every version, however they refer to
each other."""

from typing import Any

import pytest
from tests.infrastructure.openapi.documents import (
    accepts,
    api,
    convert,
    messages,
    only_tool,
    operation,
    swagger,
    with_body,
)

PLACE = "#/components/schemas/"


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"{PLACE}{name}"}


def member(schema: Any, **components: Any) -> Any:
    """A tool with an argument `x` of this schema."""
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"x": schema}}}}}
    return only_tool(api({"/a": {"post": operation(requestBody=body)}}, components={"schemas": components}))


def kinds(tool: Any) -> list[list[str]]:
    """The values that select each alternative of `x`."""
    schema = tool.input_schema["properties"]["x"]
    definitions = tool.input_schema.get("$defs", {})
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    branches = [definitions[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in schema["anyOf"]]
    return [branch["properties"]["kind"]["enum"] for branch in branches]


def parent(**more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"], **more}


def child(name: str, of: str = "Pet", **more: Any) -> dict[str, Any]:
    return {"allOf": [ref(of), {"type": "object", "properties": {name: {"type": "integer"}}}], **more}


BY_KIND = {"propertyName": "kind"}


def test_discriminator_without_mapping_selects_by_the_names_of_components():
    tool = member(ref("Pet"), Pet=parent(discriminator=BY_KIND), Cat=child("lives"), Dog=child("tricks"))
    assert kinds(tool) == [["Pet"], ["Cat"], ["Dog"]]
    assert accepts(tool, {"x": {"kind": "Cat", "lives": 9}})
    assert not accepts(tool, {"x": {"kind": "Cow"}})


def test_discriminator_values_of_the_parent_that_are_spelt_like_its_subtypes_are_theirs():
    listed = parent(discriminator=BY_KIND)
    listed["properties"]["kind"]["enum"] = ["cat", "dog", "fish"]
    tool = member(ref("Pet"), Pet=listed, Cat=child("lives"), Dog=child("tricks"))
    assert kinds(tool) == [["fish"], ["cat"], ["dog"]]


def test_discriminator_of_azure_selects_by_its_own_extension():
    cat = child("lives", **{"x-ms-discriminator-value": "#Cat"})
    tool = member(ref("Pet"), Pet=parent(discriminator=BY_KIND), Cat=cat, Dog=child("tricks"))
    assert kinds(tool) == [["Pet"], ["#Cat"], ["Dog"]]


def test_discriminator_of_version_2_is_a_name():
    place = "#/definitions/"
    cat = {"allOf": [{"$ref": f"{place}Pet"}, {"properties": {"lives": {"type": "integer"}}}]}
    body = {"name": "b", "in": "body", "schema": {"$ref": f"{place}Pet"}}
    definitions = {"Pet": parent(discriminator="kind"), "Cat": cat}
    tool = only_tool(swagger({"/a": {"post": operation(parameters=[body])}}, definitions=definitions))
    assert accepts(tool, {"body": {"kind": "Cat", "lives": 9}})
    assert not accepts(tool, {"body": {"kind": "Cat", "lives": "nine"}})


def test_discriminator_is_inherited_where_a_subtype_with_subtypes_is_used():
    tool = member(
        ref("Cat"), Pet=parent(discriminator=BY_KIND), Cat=child("lives"), Lion=child("mane", "Cat"), Dog=child("x")
    )
    assert kinds(tool) == [["Cat"], ["Lion"]]
    assert accepts(tool, {"x": {"kind": "Lion", "lives": 9, "mane": 1}})


def test_discriminator_of_a_parent_that_lists_its_subtypes_itself_ends():
    pet = {"oneOf": [ref("Cat"), ref("Dog")], **parent(discriminator=BY_KIND)}
    tool = member(ref("Pet"), Pet=pet, Cat=child("lives"), Dog=child("tricks", friend=1))
    assert accepts(tool, {"x": {"kind": "Cat", "lives": 9}})
    assert not accepts(tool, {"x": {"kind": "Cat", "lives": "nine"}})
    assert not accepts(tool, {"x": {"kind": "Cow"}})


def test_discriminator_leaves_a_component_that_only_describes_the_parent_again_a_use_of_it():
    mapping = {"cat": f"{PLACE}Cat", "dog": f"{PLACE}Dog"}
    again = {"allOf": [ref("Pet")], "description": "A pet as it is sent."}
    tool = member(
        ref("Again"),
        Pet=parent(discriminator={**BY_KIND, "mapping": mapping}),
        Cat=child("lives"),
        Dog=child("tricks"),
        Again=again,
    )
    assert kinds(tool) == [["cat"], ["dog"]]


@pytest.mark.parametrize("keyword", ["oneOf", "anyOf"])
def test_discriminator_of_branches_selects_by_mapping_and_by_the_branch_itself(keyword):
    own = {"type": "object", "properties": {"kind": {"type": "string", "enum": ["dog", "wolf"]}}}
    plain = {"type": "object", "properties": {"n": {"type": "integer"}}}
    declared = {**BY_KIND, "mapping": {"cat": "Cat", "kitten": "Cat"}}
    tool = member(
        {keyword: [ref("Cat"), ref("Dog"), ref("Cow")], "discriminator": declared}, Cat=plain, Dog=own, Cow=plain
    )
    assert kinds(tool) == [["cat", "kitten"], ["dog", "wolf"], ["Cow"]]


def test_discriminator_of_branches_that_share_one_list_of_values_keeps_each_to_its_own():
    shared = {"type": "object", "properties": {"kind": {"type": "string", "enum": ["cat", "dog", "fish"]}}}
    declared = {**BY_KIND, "mapping": {"cat": "Cat", "dog": "Dog"}}
    tool = member(
        {"oneOf": [ref("Cat"), ref("Dog")], "discriminator": declared}, Cat=shared, Dog={**shared, "title": "d"}
    )
    assert kinds(tool) == [["cat", "fish"], ["dog", "fish"]]


def test_discriminator_with_more_subtypes_than_can_be_shown_accepts_their_members_and_says_so():
    components = {f"Kind{number}": child(f"m{number}") for number in range(80)}
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"x": ref("Pet")}}}}}
    schemas = {"Pet": parent(discriminator=BY_KIND), **components}
    conversion = convert(api({"/a": {"post": operation(requestBody=body)}}, components={"schemas": schemas}))
    (tool,) = conversion.tools
    assert accepts(tool, {"x": {"kind": "Kind7", "m7": 1}})
    assert "81 subtypes" in messages(conversion)


@pytest.mark.parametrize(
    "declared",
    [
        5,
        {},
        {"propertyName": 5},
        {"propertyName": "kind", "mapping": {"a": 5, "b": "#/nowhere", "c": f"{PLACE}Pet"}},
        "",
    ],
)
def test_discriminator_that_says_nothing_usable_is_ignored(declared):
    tool = member(ref("Pet"), Pet=parent(discriminator=declared))
    assert accepts(tool, {"x": {"kind": "c"}})


def test_discriminator_of_components_that_extend_each_other_ends():
    first = {"allOf": [ref("B")], "discriminator": BY_KIND, "properties": {"a": {"type": "integer"}}}
    tool = member(ref("A"), A=first, B={"allOf": [ref("A")], "properties": {"b": {"type": "integer"}}})
    assert accepts(tool, {"x": {"kind": "B", "b": 1}})


@pytest.mark.parametrize("mapping", [True, False])
def test_discriminator_of_a_subtype_tells_its_own_subtypes_apart_within_the_value_of_the_outer_one(mapping):
    def told_by(name, **values):
        mapped = {"mapping": {value: f"{PLACE}{target}" for value, target in values.items()}} if mapping else {}
        return {"propertyName": name, **mapped}

    shape = {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}}}
    poly = {"type": "object", "properties": {"sub": {"type": "string"}, "inner": ref("Shape")}}
    three = {"type": "object", "properties": {"base": {"type": "number"}}}
    schemas = {
        "Shape": {**shape, "discriminator": told_by("kind", circle="Circle", poly="Poly")},
        "Circle": {"allOf": [ref("Shape"), {"required": ["r"], "properties": {"r": {"type": "number"}}}]},
        "Poly": {"allOf": [ref("Shape"), poly], "discriminator": told_by("sub", tri="Tri")},
        "Tri": {"allOf": [ref("Poly"), three]},
    }
    body = {"type": "object", "properties": {"shape": ref("Shape")}}
    tool = only_tool(with_body(body, components={"schemas": schemas}))
    kind, sub, circle = ("poly", "tri", "circle") if mapping else ("Poly", "Tri", "Circle")
    assert accepts(tool, {"shape": {"kind": kind, "sub": sub, "base": 3}})
    assert accepts(tool, {"shape": {"kind": kind, "sub": sub, "inner": {"kind": circle, "r": 1}}})
    assert not accepts(tool, {"shape": {"kind": kind, "sub": sub, "base": "three"}})
    assert not accepts(tool, {"shape": {"kind": "Tri", "sub": sub}})
    assert not accepts(tool, {"shape": {"kind": kind, "sub": "other"}})
