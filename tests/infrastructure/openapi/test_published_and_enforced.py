"""The laws of what is shown and what is enforced: a legal value of a document satisfies the published schema; the
published schema can be satisfied; and what satisfies it is accepted, unchanged."""

import functools
import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from tests.infrastructure.openapi.documents import api, convert, only_tool, operation, swagger
from tests.infrastructure.openapi.test_real_documents import DOCUMENTS, OPTIONS, read

from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.domain.errors import InvalidArguments
from stoa.domain.operations.tool import Tool
from stoa.infrastructure.openapi import OpenApiConverter

KINDS = ("cat", "dog", "Bird", "fish 1")
SCALARS: dict[str, Any] = {"string": "text", "integer": 7, "number": 1.5, "boolean": True}


def accepted(tool: Tool, arguments: dict[str, Any], validation: Any) -> bool:
    """True if a call with these arguments would be made with just these."""
    schema = ArgumentSchema(tool.input_schema, validation=validation, takes_others=tool.binding.takes_others)
    assert schema.normalise(arguments) == arguments
    schema.check(arguments)
    return True


@st.composite
def hierarchies(draw: st.DrawFn) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Components of a hierarchy, the place of its parent, and a value of one of its subtypes."""
    is_swagger, has_mapping = draw(st.booleans()), draw(st.booleans())
    place = "#/definitions/" if is_swagger else "#/components/schemas/"
    names = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True))
    parents = {name: draw(st.sampled_from(["Base", *names[:position]])) for position, name in enumerate(names)}
    members = {name: draw(st.sampled_from(sorted(SCALARS))) for name in names}
    is_closed = draw(st.booleans())
    base: dict[str, Any] = {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}
    base["properties"]["other"] = {"$ref": f"{place}Base"}
    mapping = {f"{name}!": f"{place}{name}" for name in names} if has_mapping and not is_swagger else {}
    base["discriminator"] = (
        "kind" if is_swagger else {"propertyName": "kind", **({"mapping": mapping} if mapping else {})}
    )
    schemas = {"Base": base}
    for name in names:
        own: dict[str, Any] = {"type": "object", "properties": {f"of {name}": {"type": members[name]}}}
        if is_closed:
            own["additionalProperties"] = False
        schemas[name] = {"allOf": [{"$ref": place + parents[name]}, own]}

    def value(depth: int) -> dict[str, Any]:
        chosen = name = draw(st.sampled_from(names))
        result: dict[str, Any] = {"kind": f"{name}!" if mapping else name}
        while name != "Base":
            result[f"of {name}"] = SCALARS[members[name]]
            name = parents[name]
        if depth and chosen:
            result["other"] = value(depth - 1)
        return result

    return schemas, place, value(draw(st.integers(0, 2)))


@given(hierarchies(), st.sampled_from(["strict", "lenient"]), st.sampled_from(["body", "member", "list"]))
def test_published_and_enforced_are_what_a_hierarchy_allows(hierarchy, validation, where):
    schemas, place, value = hierarchy
    ref = {"$ref": f"{place}Base"}
    schema: dict[str, Any] = ref if where == "body" else {"type": "object", "properties": {"x": ref}}
    if where == "list":
        schema["properties"]["x"] = {"type": "array", "items": ref}
    whole = value if where == "body" else {"x": [value] if where == "list" else value}
    if place == "#/definitions/":
        body = {"name": "b", "in": "body", "required": True, "schema": schema}
        document = swagger({"/x": {"post": operation(parameters=[body])}}, definitions=schemas)
    else:
        content = {"application/json": {"schema": schema}}
        body = {"required": True, "content": content}
        document = api({"/x": {"post": operation(requestBody=body)}}, components={"schemas": schemas})
    tool = only_tool(document, validation=validation)
    binding: Any = tool.binding
    if binding.body.argument is not None:
        arguments = {binding.body.argument: whole}
    else:
        keys = {member: key for key, member in binding.body.fields.items()}
        arguments = {keys[member]: inner for member, inner in whole.items()}
    assert jsonschema_rs.validator_for(tool.input_schema, offline=True).is_valid(arguments)
    assert accepted(tool, arguments, validation)


def instance(root: dict[str, Any], schema: Any, depth: int = 0, *, is_full: bool = False) -> Any:
    """A value of a published schema: its required members, and all others down to two levels if `is_full`."""
    if not isinstance(schema, dict) or not schema or depth > 30:
        return "any"
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return instance(root, {**target, **{k: v for k, v in schema.items() if k != "$ref"}}, depth, is_full=is_full)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return next((value for value in schema["enum"] if value is not None), None)
    if "anyOf" in schema:
        branch = next(one for one in schema["anyOf"] if one != {"type": "null"})
        own = {key: value for key, value in schema.items() if key not in {"anyOf", "type"}}
        if own.get("properties") and branch.get("properties"):
            own["properties"] = {**own["properties"], **branch["properties"]}
        if own.get("required") and branch.get("required"):
            own["required"] = [*own["required"], *branch["required"]]
        return instance(
            root, {**({"type": schema["type"]} if "type" in schema else {}), **branch, **own}, depth, is_full=is_full
        )
    if "allOf" in schema:
        parts = [instance(root, part, depth, is_full=is_full) for part in schema["allOf"]]
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        if "properties" in rest:
            parts.append(instance(root, {"type": "object", **rest}, depth, is_full=is_full))
        objects = [part for part in parts if isinstance(part, dict)]
        return {name: value for part in objects for name, value in part.items()} if objects else parts[-1]
    types = schema.get("type", "object" if "properties" in schema else "string")
    kind = types if isinstance(types, str) else next(one for one in types if one != "null")
    return _of_kind(root, schema, kind, depth, is_full=is_full)


def _of_kind(root: dict[str, Any], schema: dict[str, Any], kind: str, depth: int, *, is_full: bool) -> Any:
    if kind == "object":
        wanted = [*schema.get("required", ()), *(schema.get("properties", {}) if is_full and depth < 3 else ())]
        members = schema.get("properties", {})
        value = {name: instance(root, members.get(name), depth + 1, is_full=is_full) for name in dict.fromkeys(wanted)}
        for number in range(schema.get("minProperties", 0) - len(value)):
            value[f"x{number}"] = instance(root, schema.get("additionalProperties"), depth + 1)
        return value
    if kind == "array":
        size = max(schema.get("minItems", 0), int(is_full and depth < 3 and schema.get("maxItems", 1) > 0))
        return [instance(root, schema.get("items"), depth + 1, is_full=is_full) for _ in range(size)]
    if kind in {"integer", "number"}:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + (1 if "exclusiveMinimum" in schema else 0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 9) - ("exclusiveMaximum" in schema))
        step = schema.get("multipleOf", 1)
        return low if step == 1 or low == high else step * -(-low // step)
    if kind == "string" and "pattern" in schema:
        return text_like(schema["pattern"], schema.get("minLength", 0), schema.get("maxLength", 1 << 20))
    return {"boolean": True, "null": None}.get(kind, "x" * max(1, schema.get("minLength", 1)))


@functools.lru_cache(maxsize=4096)
def text_like(pattern: str, least: int, most: int) -> str:
    """A text that has a match for the pattern."""
    texts = st.from_regex(pattern).filter(lambda text: least <= len(text) <= most and not text.endswith("\n"))
    quiet = settings(
        database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )  # without making it simpler, which takes most of the time
    return find(texts, lambda _: True, settings=quiet)


def has_patterns(value: Any) -> bool:
    return any(
        f'"{word}"' in json.dumps(value) for word in ("pattern", "uniqueItems", "not", "if", "patternProperties")
    )


@pytest.mark.skipif(not DOCUMENTS, reason="needs the API descriptions in ../shared/specs/openapi")
@pytest.mark.parametrize(
    "name", ["xero/xero_accounting.yaml", "qdrant/openapi.json", "ogc/ogcapi-processes.bundled.json"]
)
def test_published_schemas_of_real_documents_can_be_satisfied_and_what_satisfies_them_is_accepted(name):
    tools = OpenApiConverter().convert(read(name), OPTIONS).tools
    tried = 0
    for tool in tools:
        schema = tool.input_schema
        if has_patterns(schema):
            continue
        for is_full in (False, True):
            arguments = instance(schema, schema, is_full=is_full)
            assert jsonschema_rs.validator_for(schema, offline=True).is_valid(arguments), (tool.name, arguments)
            assert accepted(tool, arguments, "strict")
            tried += 1
    assert tried > len(tools)


CLOSED_PARTS = {
    "A": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
    "B": {"allOf": [{"$ref": "#/components/schemas/A"}, {"properties": {"b": {"type": "integer"}}}]},
}


def with_member(schema: Any, **components: Any) -> Tool:
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"x": schema}}}}}
    return only_tool(api({"/x": {"post": operation(requestBody=body)}}, components={"schemas": components}))


@pytest.mark.parametrize("keyword", ["oneOf", "anyOf"])
@pytest.mark.parametrize("form", ["beside members", "in allOf", "in allOf by reference"])
def test_published_and_enforced_alternatives_do_not_refuse_the_members_beside_them(keyword, form):
    branches = {keyword: [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/C"}]}
    other = {**CLOSED_PARTS["A"], "properties": {"c": {"type": "integer"}}}
    common = {"type": "object", "properties": {"b": {"type": "integer"}}}
    part = {"$ref": "#/components/schemas/Either"} if form == "in allOf by reference" else branches
    schema = {**common, **branches} if form == "beside members" else {"allOf": [common, part]}
    tool = with_member(schema, A=CLOSED_PARTS["A"], C=other, Either=branches)
    assert accepted(tool, {"x": {"a": "x", "b": 1}}, "strict")
    assert accepted(tool, {"x": {"c": 1, "b": 1}}, "strict")
    with pytest.raises(InvalidArguments):
        accepted(tool, {"x": {"b": "one"}}, "strict")


@pytest.mark.parametrize("names", [["A", "B"], ["B"], ["B", "B"]])
@pytest.mark.parametrize("beside", [{}, {"properties": {"c": {"type": "boolean"}}}, {"minProperties": 1}])
def test_published_and_enforced_are_the_members_of_all_closed_parts(names, beside):
    parts = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    schema = {"type": "object", "properties": {"x": {"allOf": parts, **beside}}}
    content = {"application/json": {"schema": schema}}
    body = {"required": True, "content": content}
    document = api({"/x": {"post": operation(requestBody=body)}}, components={"schemas": CLOSED_PARTS})
    (tool,) = convert(document).tools
    value: dict[str, Any] = {"a": "x", "b": 1, **({"c": True} if "properties" in beside else {})}
    assert accepted(tool, {"x": value}, "strict")
    with pytest.raises(Exception, match="no property 'd'"):
        accepted(tool, {"x": {**value, "d": 1}}, "strict")


@pytest.mark.parametrize(("parameters", "size"), [([], 1), ([{"name": "id", "in": "path", "required": True}], 2)])
def test_published_and_enforced_are_the_least_members_of_a_body(parameters, size):
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "minProperties": 1}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    path = "/x/{id}" if parameters else "/x"
    tool = only_tool(api({path: {"patch": operation(requestBody=body, parameters=parameters)}}))
    given = {"id": "7"} if parameters else {}
    assert tool.input_schema["minProperties"] == size
    assert accepted(tool, {**given, "a": "x"}, "lenient")
    with pytest.raises(InvalidArguments):
        accepted(tool, given, "lenient")
