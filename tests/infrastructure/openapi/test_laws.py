"""Laws for documents that nobody would write by hand: arbitrary names, references and junk anywhere."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.infrastructure.openapi.documents import api, binding, convert, swagger
from tests.infrastructure.openapi.laws import METHODS, assert_all_accounted_for, assert_sound

NAMES = st.one_of(
    st.text(min_size=1, max_size=8), st.sampled_from(["id", "body", "id_query", "filter[a]", "body_id", "a b", "é"])
)
SCALARS: st.SearchStrategy[Any] = st.sampled_from(["string", "integer", "boolean", "number"]).map(
    lambda name: {"type": name}
)
REFERENCES = st.sampled_from(["A", "B", "C", "Missing"]).map(lambda name: {"$ref": f"#/components/schemas/{name}"})
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    SCALARS | REFERENCES,
    lambda inner: st.one_of(
        inner.map(lambda schema: {"type": "array", "items": schema}),
        st.dictionaries(NAMES, inner, max_size=4).flatmap(
            lambda members: st.lists(st.sampled_from([*members, "other"]), max_size=3).map(
                lambda required: {"type": "object", "properties": members, "required": required}
            )
        ),
        st.lists(inner, min_size=1, max_size=3).flatmap(
            lambda branches: st.sampled_from(["allOf", "anyOf", "oneOf"]).map(lambda key: {key: branches})
        ),
        inner.map(lambda schema: {**schema, "nullable": True}),
        inner.map(lambda schema: {**schema, "readOnly": True}),
    ),
    max_leaves=8,
)
PARAMETERS = st.lists(
    st.fixed_dictionaries({"name": NAMES, "in": st.sampled_from(["query", "header", "cookie"]), "schema": SCHEMAS}),
    max_size=5,
    unique_by=lambda parameter: (parameter["name"], parameter["in"]),
)


@st.composite
def documents(draw):
    paths: dict[str, Any] = {}
    for number in range(draw(st.integers(0, 3))):
        content: dict[str, Any] = {"parameters": draw(PARAMETERS), "responses": {}}
        if draw(st.booleans()):
            content["operationId"] = draw(st.text(max_size=60))
        if draw(st.booleans()):
            content["requestBody"] = {
                "required": draw(st.booleans()),
                "content": {"application/json": {"schema": draw(SCHEMAS)}},
            }
        if draw(st.booleans()):
            content["responses"]["200"] = {"content": {"application/json": {"schema": draw(SCHEMAS)}}}
        paths[f"/{number}"] = {draw(st.sampled_from(METHODS)): content}
    schemas = {name: draw(SCHEMAS) for name in ("A", "B", "C")}
    return api(paths, draw(st.sampled_from(["3.0.3", "3.1.0"])), components={"schemas": schemas})


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_every_document_converts_soundly_and_always_alike(document):
    conversion = convert(document)
    assert_sound(conversion)
    assert_all_accounted_for(conversion, len(document["paths"]))
    assert convert(document) == conversion


@given(PARAMETERS)
def test_each_parameter_that_can_be_sent_is_bound_once(parameters):
    plain = [dict(parameter, **{"in": "query"}) for parameter in parameters]
    plain = list({parameter["name"]: parameter for parameter in plain}.values())
    (tool,) = convert(api({"/": {"get": {"parameters": plain}}})).tools
    assert [parameter.name for parameter in binding(tool).parameters] == [parameter["name"] for parameter in plain]
    assert len(tool.input_schema["properties"]) == len(plain)


@given(st.lists(st.text(max_size=80), max_size=8), st.booleans())
def test_no_operation_is_lost_to_its_name(ids, use_operation_id):
    paths = {f"/{number}": {"get": {"operationId": name}} for number, name in enumerate(ids)}
    conversion = convert(api(paths), use_operation_id=use_operation_id)
    assert_sound(conversion)
    assert len(conversion.tools) == len(ids)


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(
        ["", "x", "#/paths", "#/components/schemas/Pet", "#", "application/json", "query", "path", "object"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$ref", "type", "properties", "allOf", "in", "name", "schema", "content", "get", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)

PET = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "enum": ["a"], "pattern": "a", "minLength": 1, "default": "a", "example": "a"},
        "tags": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
    },
    "allOf": [
        {
            "type": "object",
            "properties": {"id": {"type": "integer", "readOnly": True, "exclusiveMinimum": True, "minimum": 0}},
        }
    ],
    "additionalProperties": False,
    "discriminator": {"propertyName": "name"},
}
FULL = api(
    {
        "/pets/{id}?a=b": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "servers": [{"url": "{s}://h.example", "variables": {"s": {"default": "https"}}}],
            "post": {
                "operationId": "act",
                "tags": ["t"],
                "parameters": [
                    {"name": "q", "in": "query", "style": "form", "content": {"application/json": {"schema": PET}}}
                ],
                "requestBody": {
                    "content": {
                        "application/x-www-form-urlencoded": {"schema": PET, "encoding": {"tags": {"style": "form"}}}
                    }
                },
                "responses": {"200": {"content": {"application/json": {"schema": PET}}}},
            },
        }
    },
    components={"schemas": {"Pet": PET}},
)
OLD = swagger(
    {
        "/pets": {
            "post": {
                "consumes": ["application/x-www-form-urlencoded"],
                "parameters": [
                    {
                        "name": "f",
                        "in": "formData",
                        "type": "array",
                        "items": {"type": "string"},
                        "collectionFormat": "multi",
                    },
                    {"name": "h", "in": "header", "type": "integer", "maximum": 5},
                ],
                "responses": {"200": {"schema": {"$ref": "#/definitions/Pet"}}},
            },
            "put": {"parameters": [{"name": "b", "in": "body", "schema": {"$ref": "#/definitions/Pet"}}]},
        }
    },
    definitions={"Pet": PET},
    schemes=["https"],
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path and path != ("paths",) and path not in {("openapi",), ("swagger",)} else []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        found += places(member, (*path, key))
    return found


def replaced(document: Any, path: tuple[Any, ...], junk: Any) -> Any:
    copy = json.loads(json.dumps(document))
    node = copy
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = junk
    return copy


@settings(max_examples=150)
@given(st.sampled_from([(document, path) for document in (FULL, OLD) for path in places(document)]), JUNK)
def test_junk_anywhere_costs_only_its_own_part(place, junk):
    document, path = place
    conversion = convert(replaced(document, path, junk))
    assert_sound(conversion)
    if path[0] in {"components", "definitions"}:
        assert len(conversion.tools) == len(convert(document).tools)
