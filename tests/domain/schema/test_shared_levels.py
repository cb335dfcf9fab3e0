"""Shared levels: schemas that have parts in common get the portable forms that they get alone."""

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import object_schemas

from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.portable_schema import portable
from stoa.domain.schema.shared_levels import SharedLevels

ADDRESS: JsonObject = {"$ref": "#/$defs/Address", "description": "Where to."}


def order(**definitions: JsonObject) -> JsonObject:
    return {"type": "object", "properties": {"to": ADDRESS, "from": ADDRESS}, "$defs": definitions}


def test_shared_levels_tell_definitions_of_one_name_apart() -> None:
    levels = SharedLevels()
    street: JsonObject = {"type": "object", "properties": {"street": {"type": "string"}}}
    code: JsonObject = {"type": "object", "properties": {"code": {"type": "integer"}}}
    for definition in (street, code, street):
        made = portable(order(Address=definition), levels=levels)
        assert made["properties"]["to"]["properties"] == definition["properties"]


@given(st.lists(object_schemas(), min_size=2, max_size=3))
def test_shared_levels_change_no_portable_form(parts: list[JsonObject]) -> None:
    shared: JsonObject = {f"part{number}": part for number, part in enumerate(parts)}
    schemas: list[JsonObject] = [
        {"type": "object", "properties": dict(list(shared.items())[start:])} for start in range(len(parts))
    ]
    levels = SharedLevels()
    assert [portable(schema, levels=levels) for schema in schemas] == [portable(schema) for schema in schemas]
