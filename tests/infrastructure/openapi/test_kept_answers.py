"""Answers keep all that the back end said, whatever the description says of it: alternatives, discriminators, null, and
members of another type than was promised."""

from typing import Any

import jsonschema_rs
import pytest
from tests.infrastructure.openapi.documents import api, only_tool, operation

from stoa.application.schemas.output_schema import OutputSchema, relaxed
from stoa.domain.results.result import TextContent, ToolResult

CARD = {
    "type": "object",
    "required": ["method", "number"],
    "properties": {"method": {"const": "card"}, "number": {"type": "string", "pattern": "^[0-9]+$"}},
}
BANK = {
    "type": "object",
    "required": ["method"],
    "properties": {"method": {"type": "string"}, "iban": {"type": "string"}},
}
PAYMENT = {
    "oneOf": [{"$ref": "#/components/schemas/Card"}, {"$ref": "#/components/schemas/Bank"}],
    "discriminator": {
        "propertyName": "method",
        "mapping": {"card": "#/components/schemas/Card", "bank": "#/components/schemas/Bank"},
    },
}
PET = {
    "type": "object",
    "required": ["kind"],
    "properties": {"kind": {"type": "string"}},
    "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/components/schemas/Cat"}},
}
CAT = {
    "allOf": [{"$ref": "#/components/schemas/Pet"}, {"type": "object", "properties": {"meows": {"type": "integer"}}}]
}
SCHEMAS = {"Card": CARD, "Bank": BANK, "Payment": PAYMENT, "Pet": PET, "Cat": CAT}


def kept(schema: dict[str, Any], answer: Any) -> tuple[Any, tuple[str, ...]]:
    """The structured content that callers get of an answer, and what is left out of it."""
    response = {"200": {"description": "ok", "content": {"application/json": {"schema": schema}}}}
    tool = only_tool(api({"/pets": {"get": operation(responses=response)}}, components={"schemas": SCHEMAS}))
    result = ToolResult((TextContent("as text"),), answer)
    if tool.output_schema is None:
        return answer, ()
    fitted = OutputSchema(tool.name, tool.output_schema).fit(result)
    assert fitted.content == result.content
    jsonschema_rs.validator_for(relaxed(tool.output_schema)).validate(fitted.structured)
    return fitted.structured, fitted.omitted


@pytest.mark.parametrize(
    "answer",
    [
        {"method": "card", "number": "1"},
        {"method": "bank", "iban": "DE1"},
        {"method": "wallet", "owner": {"id": 1}},
        {"method": "card", "number": "no digits", "more": [1]},
        {"iban": None},
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_answer_with_a_discriminator_keeps_all_of_it(answer: Any, is_nested: bool):
    payment = {"$ref": "#/components/schemas/Payment"}
    if not is_nested:
        assert kept(payment, answer) == (answer, ())
        return
    schema = {"type": "object", "properties": {"payments": {"type": "array", "items": payment}, "last": payment}}
    content = {"payments": [answer, answer], "last": answer}
    assert kept(schema, content) == (content, ())


def test_answer_of_a_subtype_keeps_the_members_of_the_subtype():
    schema = {
        "type": "object",
        "properties": {"pets": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}}},
    }
    answer = {"pets": [{"kind": "cat", "meows": 3}, {"kind": "dog", "barks": True}]}

    assert kept(schema, answer) == (answer, ())


@pytest.mark.parametrize(
    "member",
    [
        {"type": "string", "nullable": True},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"oneOf": [{"$ref": "#/components/schemas/Bank"}, {"type": "null"}]},
        {"type": "string"},
        {"allOf": [{"$ref": "#/components/schemas/Bank"}], "nullable": True},
    ],
)
def test_answer_may_be_null_in_any_member(member: dict[str, Any]):
    answer = {"note": None, "name": "Ada"}

    assert kept({"type": "object", "properties": {"note": member}}, answer) == (answer, ())


def test_answer_with_one_odd_member_keeps_the_others():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "name": {"type": "string"}}}

    assert kept(schema, {"n": "five", "name": "Ada"}) == ({"name": "Ada"}, ("/n",))


def test_answer_with_one_odd_entry_keeps_the_others_in_their_places():
    schema = {
        "type": "object",
        "properties": {
            "rows": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}
        },
    }
    answer = {"rows": [{"n": 1, "x": "y"}, {"n": "odd", "x": "z"}, "no object"], "total": 3}

    assert kept(schema, answer) == (
        {"rows": [{"n": 1, "x": "y"}, {"x": "z"}, None], "total": 3},
        ("/rows/*/n", "/rows/*"),
    )


def test_answer_that_is_closed_by_its_description_keeps_what_was_not_declared():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}

    content, _ = kept(schema, {"a": 1, "new": {"b": 2}})

    assert content["a"] == 1
