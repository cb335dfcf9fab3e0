"""What a document means is what a client is shown, what the gateway enforces and what the API gets: documents are
converted, published, and called through a gateway with a real back end on loopback."""

import json
from typing import Any

import pytest
import yaml
from tests.infrastructure.rest.loopback import answer, loopback, rest_backend

from stoa.application import Gateway
from stoa.application.ports import ConversionOptions
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidArguments
from stoa.infrastructure.openapi import OpenApiSpecKind

ADMIN = Principal.of("ann", roles=["cpi-admin"])

LINE = "Line: {type: object, required: [sku], properties: {sku: {type: string}, qty: {type: integer}}}"
PET = """
Pet:
  type: object
  required: [petType]
  properties: {petType: {type: string}, name: {type: string}}
  discriminator: {propertyName: petType, mapping: {cat: '#/components/schemas/Cat', dog: Dog}}
Cat: {allOf: [{$ref: '#/components/schemas/Pet'}, {type: object, properties: {meowVolume: {type: integer}}}]}
Dog: {allOf: [{$ref: '#/components/schemas/Pet'}], properties: {friend: {$ref: '#/components/schemas/Pet'}}}
Lion: {allOf: [{$ref: '#/components/schemas/Cat'}, {type: object, properties: {mane: {type: string}}}]}
"""
PAYMENT = """
Payment:
  oneOf: [{$ref: '#/components/schemas/Card'}, {$ref: '#/components/schemas/Bank'}]
  discriminator:
    propertyName: method
    mapping: {card: '#/components/schemas/Card', bank_transfer: '#/components/schemas/Bank'}
Card: {type: object, required: [method, number], properties: {method: {type: string}, number: {type: string}}}
Bank: {type: object, required: [method], properties: {method: {type: string}, iban: {type: string, maxLength: 9}}}
"""
CLOSED = """
A: {type: object, properties: {a: {type: string}}, additionalProperties: false}
B: {type: object, properties: {b: {type: integer}}, additionalProperties: false, minProperties: 1}
Both: {allOf: [{$ref: '#/components/schemas/A'}, {$ref: '#/components/schemas/B'}]}
"""
OVERLAPPING = "Id: {oneOf: [{type: string, maxLength: 32}, {type: string, maxLength: 36}]}"


def document(schema: str, components: str = "", version: str = "3.1.0") -> str:
    """An API with one operation, `act`, that takes `schema` as its body."""
    content = {"application/json": {"schema": yaml.safe_load(schema)}}
    operation = {"operationId": "act", "requestBody": {"required": True, "content": content}, "responses": {}}
    schemas = {"schemas": yaml.safe_load(components) or {}}
    info = {"title": "t", "version": "1"}
    return json.dumps({"openapi": version, "info": info, "paths": {"/act": {"post": operation}}, "components": schemas})


async def called(text: str, arguments: dict[str, Any], *, body: bytes = b"{}", **options: Any):
    """The tool, the outcome of a call, and the JSON that the API got (None: nothing)."""
    async with loopback(lambda _: answer(body)) as api, rest_backend() as backend:
        gateway = Gateway(backends=[backend], spec_kinds=[OpenApiSpecKind()])
        gateway.add_openapi(text, options=ConversionOptions(base_url=api.url, **options))
        (tool,) = gateway.catalogue.tools.values()
        outcome = await gateway.invoke(tool.name, arguments, ADMIN)
        await gateway.close()
    sent = json.loads(api.seen[0].body or b"null") if api.seen else None
    return tool, outcome, sent


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0", "3.2.0"])
@pytest.mark.parametrize(
    ("schema", "components", "arguments"),
    [
        (
            "{type: object, properties: {lines: {type: array, items: {$ref: '#/components/schemas/Line'}}}}",
            LINE,
            {"lines": [{"sku": "a", "qty": 2}]},
        ),
        ("{$ref: '#/components/schemas/Pet'}", PET, {"body": {"petType": "cat", "meowVolume": 3}}),
        (
            "{$ref: '#/components/schemas/Pet'}",
            PET,
            {"body": {"petType": "dog", "friend": {"petType": "cat", "meowVolume": 3}}},
        ),
        ("{$ref: '#/components/schemas/Pet'}", PET, {"body": {"petType": "Lion", "meowVolume": 3, "mane": "long"}}),
        (
            "{type: object, properties: {cat: {$ref: '#/components/schemas/Cat'}}}",
            PET,
            {"cat": {"petType": "Lion", "mane": "long"}},
        ),
        (
            "{type: object, properties: {all: {additionalProperties: {$ref: '#/components/schemas/Pet'}}}}",
            PET,
            {"all": {"tom": {"petType": "cat", "meowVolume": 3}}},
        ),
        ("{$ref: '#/components/schemas/Payment'}", PAYMENT, {"body": {"method": "card", "number": "1"}}),
        (
            "{type: object, properties: {x: {allOf: [{$ref: '#/components/schemas/Payment'}]}}}",
            PAYMENT,
            {"x": {"method": "bank_transfer", "iban": "1"}},
        ),
        (
            "{type: object, properties: {x: {$ref: '#/components/schemas/Both'}}}",
            CLOSED,
            {"x": {"a": "x", "b": 1}},
        ),
        ("{type: object, properties: {id: {$ref: '#/components/schemas/Id'}}}", OVERLAPPING, {"id": "ab"}),
    ],
)
async def test_meaning_of_a_schema_is_accepted_strictly_and_reaches_the_api(schema, components, arguments, version):
    _, outcome, sent = await called(document(schema, components, version), arguments, validation="strict")
    assert outcome.error is None
    assert sent == arguments.get("body", arguments)


async def test_meaning_of_unevaluated_properties_beside_a_reference_counts_the_members_of_both():
    schema = "{$ref: '#/components/schemas/A', properties: {b: {type: integer}}, unevaluatedProperties: false}"
    text = document(schema, "A: {type: object, properties: {a: {type: string}}}")
    _, outcome, sent = await called(text, {"a": "x", "b": 1}, validation="strict")
    assert (outcome.error, sent) == (None, {"a": "x", "b": 1})
    _, outcome, sent = await called(text, {"a": "x", "b": 1, "c": 2}, validation="strict")
    assert isinstance(outcome.error, InvalidArguments)
    assert sent is None


@pytest.mark.parametrize(
    ("arguments", "violation"),
    [
        ({"body": {"method": "card"}}, ("/body", '"number" is a required property')),
        ({"body": {"method": "bank_transfer", "iban": "1234567890"}}, ("/body/iban", "longer than 9")),
        ({"body": {"method": "cash", "number": "1"}}, ("/body/method", "card")),
    ],
)
async def test_meaning_of_a_discriminator_is_that_the_mistake_of_one_branch_is_explained(arguments, violation):
    _, outcome, sent = await called(document("{$ref: '#/components/schemas/Payment'}", PAYMENT), arguments)
    assert isinstance(outcome.error, InvalidArguments)
    assert sent is None
    ((path, expected),) = [(told.path, told.expected) for told in outcome.error.violations]
    assert path == violation[0]
    assert violation[1] in expected


async def test_meaning_of_a_mapping_is_published_as_the_values_of_its_property():
    tool, _, _ = await called(document("{$ref: '#/components/schemas/Payment'}", PAYMENT), {})
    branches = tool.input_schema["properties"]["body"]["anyOf"]
    assert [branch["properties"]["method"]["enum"] for branch in branches] == [["card"], ["bank_transfer"]]


async def test_meaning_of_values_is_their_text_where_the_type_is_text():
    text = """
openapi: 3.0.3
info: {title: t, version: 1.10}
paths:
  /e:
    get:
      operationId: act
      parameters:
        - {name: size, in: query, schema: {type: string, enum: [1, 2, all]}}
        - {name: api, in: query, schema: {type: string, enum: [1.10, 2.0, on, 2024-01-01, 1e3, 0x10], default: 2.0}}
        - {name: n, in: query, schema: {type: integer, enum: ['1', 2, 2]}}
      responses: {'200': {description: ok}}
"""
    tool, outcome, _ = await called(text, {"size": 1, "api": "1.10", "n": 1})
    shown = tool.input_schema["properties"]
    assert outcome.error is None
    assert outcome.coerced == ("/size",)
    assert shown["api"]["enum"] == ["1.10", "2.0", "on", "2024-01-01", "1e3", "0x10"]
    assert shown["api"]["default"] == "2.0"
    assert shown["n"]["enum"] == [1, 2]
    parameters = '[{"name":"api","in":"query","schema":{"type":"string","enum":[1.10, 2.50]}}]'
    act = f'{{"get":{{"operationId":"act","parameters":{parameters},"responses":{{}}}}}}'
    as_json = f'{{"openapi":"3.0.3","info":{{"title":"t","version":"1"}},"paths":{{"/e":{act}}}}}'
    tool, outcome, _ = await called(as_json, {"api": "1.10"})
    assert outcome.error is None
    assert tool.input_schema["properties"]["api"]["enum"] == ["1.10", "2.50"]


async def test_meaning_of_an_odd_answer_is_kept_but_for_the_member_that_does_not_fit():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "name": {"type": "string"}}}
    text = json.loads(document("{}"))
    text["paths"]["/act"]["post"]["responses"] = {
        "200": {"description": "ok", "content": {"application/json": {"schema": schema}}}
    }
    _, outcome, _ = await called(json.dumps(text), {"body": {}}, body=b'{"n":"five","name":"Ada"}')
    assert outcome.result is not None
    assert (outcome.result.structured, outcome.result.omitted) == ({"name": "Ada"}, ("/n",))
    assert "five" in outcome.result.content[0].text  # type: ignore[union-attr]
    _, outcome, _ = await called(json.dumps(text), {"body": {}}, body=b'{"n":"5","name":7}')
    assert outcome.result is not None
    assert (outcome.result.structured, outcome.result.omitted) == ({"n": 5, "name": "7"}, ())


async def test_meaning_of_a_discriminated_answer_is_the_members_of_its_subtype():
    text = json.loads(document("{}", PET))
    ref = {"$ref": "#/components/schemas/Pet"}
    content = {"application/json": {"schema": ref}}
    text["paths"]["/act"]["post"]["responses"] = {"200": {"description": "ok", "content": content}}
    body = {"petType": "dog", "friend": {"petType": "cat", "meowVolume": 3}}
    tool, outcome, _ = await called(json.dumps(text), {"body": {}}, body=json.dumps(body).encode())
    assert outcome.result is not None
    assert (outcome.result.structured, outcome.result.omitted) == (body, ())
    assert {"meowVolume", "friend", "mane"} <= tool.output_schema["properties"].keys()


NESTED = (
    "{type: object, required: [a], additionalProperties: false, properties: {a: {type: string}, in: {type: object,"
    " additionalProperties: false, required: [x], properties: {x: {type: integer}}}}}"
)


async def test_lenient_validation_passes_undeclared_members_on_and_says_so():
    arguments = {"a": 5, "b": True, "in": {"x": "1", "y": [2]}}
    _, outcome, sent = await called(document(NESTED), arguments)
    assert sent == {"a": "5", "b": True, "in": {"x": 1, "y": [2]}}
    assert outcome.coerced == ("/a", "/in/x")
    assert set(outcome.tolerated) == {"/*", "/in/*"}
    assert outcome.event.metadata["tolerated"] == " ".join(outcome.tolerated)


@pytest.mark.parametrize("arguments", [{"b": 1}, {"a": "x", "in": {"y": 2}}, {"a": "x", "in": {"x": "one"}}])
async def test_lenient_validation_refuses_what_is_missing_or_of_another_type(arguments):
    _, outcome, sent = await called(document(NESTED), arguments)
    assert isinstance(outcome.error, InvalidArguments)
    assert sent is None


async def test_lenient_validation_refuses_an_argument_that_the_request_has_no_place_for():
    text = json.loads(document("{}"))
    parameters = [{"name": "tag", "in": "query", "schema": {"type": "string"}}]
    text["paths"]["/act"] = {"delete": {"operationId": "act", "parameters": parameters, "responses": {}}}
    _, outcome, _ = await called(json.dumps(text), {"tga": "old"})
    assert isinstance(outcome.error, InvalidArguments)


@pytest.mark.parametrize("arguments", [{"a": 5}, {"a": "x", "b": 1}, {"a": "x", "in": {"x": 1, "y": 2}}])
async def test_strict_validation_refuses_all_that_the_schema_does(arguments):
    _, outcome, sent = await called(document(NESTED), arguments, validation="strict")
    assert isinstance(outcome.error, InvalidArguments)
    assert sent is None


async def test_validation_that_is_off_checks_required_arguments_and_their_types():
    _, outcome, sent = await called(document(NESTED), {"a": "x", "in": {"y": 2}}, validation="off")
    assert (outcome.error, sent) == (None, {"a": "x", "in": {"y": 2}})
    for arguments in ({"in": {"x": 1}}, {"a": [["x"]]}, {"a": "x", "in": [1]}):
        _, outcome, sent = await called(document(NESTED), arguments, validation="off")
        assert isinstance(outcome.error, InvalidArguments)
