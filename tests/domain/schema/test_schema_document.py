"""References within one schema lead where the validator finds them."""

from typing import Any

import jsonschema_rs
import pytest

from stoa.domain.schema.schema_document import SchemaDocument

ROOT: dict[str, Any] = {
    "$id": "https://example.test/root.json",
    "type": "object",
    "$defs": {
        "a/b": {"title": "slash"},
        "a": {"b": {"title": "nested"}},
        "c%d": {"title": "percent"},
        "inner": {"$id": "inner.json", "$defs": {"deep": {"title": "deep"}}},
        "yes": True,
    },
}


@pytest.mark.parametrize(
    ("reference", "title"),
    [
        ("#/$defs/a~1b", "slash"),
        ("#/$defs/a%2Fb", "nested"),
        ("#/$defs/c%25d", "percent"),
        ("inner.json#/$defs/deep", "deep"),
        ("https://example.test/inner.json#/$defs/deep", "deep"),
    ],
)
def test_reference_leads_where_the_validator_finds_it(reference: str, title: str) -> None:
    user = {"$ref": reference}
    target = SchemaDocument({**ROOT, "properties": {"p": user}}).referred(user)
    assert target == {"title": title}
    marked = {**ROOT, "properties": {"p": user}}
    assert jsonschema_rs.is_valid(marked, {"p": 1}, offline=True)  # the validator resolves it as well


@pytest.mark.parametrize("reference", ["#anchor", "#/$defs/none", "other.json", "#/$defs/a~1b/title"])
def test_reference_that_leads_to_no_schema_is_none(reference: str) -> None:
    user = {"$ref": reference}
    assert SchemaDocument({**ROOT, "properties": {"p": user}}).referred(user) is None


def test_reference_to_a_boolean_schema_is_the_boolean() -> None:
    user = {"$ref": "#/$defs/yes"}
    assert SchemaDocument({**ROOT, "properties": {"p": user}}).referred(user) is True
