"""The pet store and its OpenAPI document describe each other: every operation is called with the document's own
examples, and its answer is held to the document's schema."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from quart.typing import TestClientProtocol as Client

import stoa.interfaces.demo
from stoa.interfaces.demo import build_upstream

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(stoa.interfaces.demo.__file__).parent / "petstore.openapi.yaml").read_text(encoding="utf-8")
)
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method, path, {**operation, "parameters": shared + operation.get("parameters", [])})
    for path, item in DOCUMENT["paths"].items()
    for shared in [item.get("parameters", [])]
    for method, operation in item.items()
    if method in METHODS
}
ORDER = {"petId": 1, "customerName": "Ada"}


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    found = node
    for part in node["$ref"].removeprefix("#/").split("/") if "$ref" in node else []:
        found = DOCUMENT[part] if found is node else found[part]
    return found


def assert_fits(schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(value)


async def call(client: Client, operation_id: str, **overrides: Any) -> Any:
    """Call an operation with the examples of its parameters and body, or what `overrides` says instead."""
    method, path, operation = OPERATIONS[operation_id]
    parameters = [resolve(parameter) for parameter in operation["parameters"]]
    values = {one["name"]: overrides.get(one["name"], one["example"]) for one in parameters}
    for parameter in parameters:
        assert_fits(parameter["schema"], parameter["example"])
    body = None
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        assert_fits(content["schema"], content["example"])
        body = overrides.get("body", content["example"])
    return await client.open(
        "/petstore" + re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), path),
        method=method.upper(),
        query_string={one["name"]: values[one["name"]] for one in parameters if one["in"] == "query"},
        json=body,
    )


async def assert_described(operation_id: str, response: Any) -> None:
    """The status is one of the document's and the body is what it says for this status."""
    responses = OPERATIONS[operation_id][2]["responses"]
    assert str(response.status_code) in responses, await response.get_data()
    described = resolve(responses[str(response.status_code)])
    if "content" not in described:
        assert await response.get_data() == b""
        return
    [(media_type, content)] = described["content"].items()
    assert response.content_type == media_type
    if "schema" in content:
        assert_fits(content["schema"], await response.get_json(force=True))


def test_document_and_upstream_have_the_same_operations() -> None:
    described = {(method.upper(), re.sub(r"\{\w+\}", "{}", path)) for method, path, _ in OPERATIONS.values()}
    served = {
        (method, re.sub(r"<[^>]+>", "{}", rule.rule.removeprefix("/petstore")))
        for rule in build_upstream().url_map.iter_rules()
        if rule.rule.startswith("/petstore/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == described


def test_every_operation_explains_itself() -> None:
    for method, path, operation in OPERATIONS.values():
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        assert all(resolve(parameter)["description"] for parameter in operation["parameters"]), (method, path)


@pytest.mark.parametrize("operation_id", OPERATIONS)
async def test_operation_answers_its_examples_as_described(client: Client, operation_id: str) -> None:
    if operation_id == "getOrder":
        await call(client, "placeOrder")
    response = await call(client, operation_id)
    assert response.status_code < 300
    await assert_described(operation_id, response)


@pytest.mark.parametrize("operation_id", ["getPet", "updatePet", "deletePet", "getPetImage"])
async def test_unknown_pet_is_answered_as_described(client: Client, operation_id: str) -> None:
    response = await call(client, operation_id, petId=999)
    assert response.status_code == 404
    await assert_described(operation_id, response)


async def test_unknown_order_is_answered_as_described(client: Client) -> None:
    response = await call(client, "getOrder")
    assert response.status_code == 404
    await assert_described("getOrder", response)


@pytest.mark.parametrize(
    ("operation_id", "overrides", "status"),
    [
        ("listPets", {"species": "dragon"}, 400),
        ("addPet", {"body": {"name": "", "species": "dragon"}}, 400),
        ("updatePet", {"body": {"species": "dog"}}, 400),
        ("placeOrder", {"body": [1]}, 400),
        ("placeOrder", {"body": {**ORDER, "petId": 4}}, 409),
        ("placeOrder", {"body": {**ORDER, "petId": 999}}, 422),
    ],
)
async def test_refusal_is_answered_as_described(
    client: Client, operation_id: str, overrides: dict[str, Any], status: int
) -> None:
    response = await call(client, operation_id, **overrides)
    assert response.status_code == status
    await assert_described(operation_id, response)
