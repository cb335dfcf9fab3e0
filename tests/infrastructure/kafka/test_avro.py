"""AvroType: any schema's values there and back, as fastavro reads them, and hostile bytes."""

import base64
import io
import json
from typing import Any

import fastavro
import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.kafka.avro import AvroType, Undecodable, Unencodable

PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "string": st.text(),
    "bytes": st.binary().map(lambda data: base64.b64encode(data).decode()),
}
NAMED = iter(range(10**9))


def leaf() -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    """A schema, and its JSON values."""
    plain = st.sampled_from([*PRIMITIVES]).map(lambda name: (name, PRIMITIVES[name]))
    enum = st.lists(st.sampled_from("ABCDEF"), min_size=1, unique=True).map(
        lambda symbols: ({"type": "enum", "name": f"E{next(NAMED)}", "symbols": symbols}, st.sampled_from(symbols))
    )
    return plain | enum


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    array = inner.filter(lambda pair: pair[0] != "null" and not _is_empty(pair[0])).map(
        lambda pair: ({"type": "array", "items": pair[0]}, st.lists(pair[1], max_size=3))
    )
    mapping = inner.map(
        lambda pair: ({"type": "map", "values": pair[0]}, st.dictionaries(st.text(max_size=5), pair[1], max_size=3))
    )
    nullable = inner.filter(lambda pair: pair[0] != "null" and not isinstance(pair[0], list)).map(
        lambda pair: (["null", pair[0]], st.none() | pair[1])
    )
    record = st.lists(inner, max_size=3).map(
        lambda pairs: (
            {
                "type": "record",
                "name": f"R{next(NAMED)}",
                "fields": [{"name": f"f{number}", "type": pair[0]} for number, pair in enumerate(pairs)],
            },
            st.fixed_dictionaries({f"f{number}": pair[1] for number, pair in enumerate(pairs)}),
        )
    )
    return array | mapping | nullable | record


def _is_empty(schema: Any) -> bool:
    if schema == "null":
        return True
    is_record = isinstance(schema, dict) and schema["type"] == "record"
    return is_record and all(_is_empty(field["type"]) for field in schema["fields"])


SCHEMAS = st.recursive(leaf(), nested, max_leaves=6)


@given(data=st.data(), pair=SCHEMAS)
def test_avro_values_come_back_as_they_went_and_are_valid_by_their_json_schema(data, pair):
    schema, values = pair
    value = data.draw(values)
    made = AvroType(json.dumps(schema))
    written, definitions = made.json_schema()
    validator = jsonschema_rs.validator_for({**written, "$defs": definitions})
    assert validator.is_valid(value)
    assert made.decode(made.encode(value)) == value


def test_avro_bytes_are_what_fastavro_reads() -> None:
    schema = {
        "type": "record",
        "name": "shop.Order",
        "fields": [
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "u", "type": ["string", "int", {"type": "record", "name": "P", "fields": []}]},
            {"name": "h", "type": {"type": "fixed", "name": "H", "size": 2}},
            {"name": "next", "type": ["null", "Order"], "default": None},
        ],
    }
    value = {"price": "-12.30", "u": {"int": 5}, "h": "AAE=", "next": None}
    value = value | {"next": dict(value)}
    made = AvroType(json.dumps(schema))
    read = fastavro.schemaless_reader(io.BytesIO(made.encode(value)), fastavro.parse_schema(schema), None)
    assert str(read["next"]["price"]) == "-12.30"
    assert (read["u"], read["h"]) == (5, b"\0\1")
    assert made.decode(made.encode(value)) == value


def test_avro_record_that_nests_without_end_is_no_crash() -> None:
    made = AvroType('{"type":"record","name":"L","fields":[{"name":"n","type":["null","L"]}]}')
    with pytest.raises(Undecodable):
        made.decode(b"\x02" * 3_000_000 + b"\x00")


@given(data=st.binary(max_size=200))
def test_avro_arbitrary_bytes_are_decoded_or_refused(data):
    made = AvroType(
        '{"type":"record","name":"L","fields":[{"name":"n","type":["null","L"]},{"name":"s","type":"string"},'
        '{"name":"m","type":{"type":"map","values":"double"}},{"name":"a","type":{"type":"array","items":"long"}}]}'
    )
    try:
        value = made.decode(data)
    except Undecodable:
        return
    json.dumps(value)


@pytest.mark.parametrize("data", [b"", b"\x04a", b"\x02a\x00", b"\xff" * 12, b"\x01"], ids=repr)
def test_avro_text_that_is_cut_or_too_long_is_refused(data):
    with pytest.raises(Undecodable):
        AvroType('"string"').decode(data)


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "{",
        "null",
        '"Unknown"',
        '{"type": "record"}',
        '{"type": "array", "items": "null"}',
        '{"type":"array","items":{"type":"record","name":"E","fields":[]}}',
        '{"type":"array","items":' * 200 + '"int"' + "}" * 200,
        '{"type": "fixed", "name": "f"}',
        "[" * 5000,
    ],
    ids=lambda text: text[:40],
)
def test_avro_schema_that_cannot_be_used_is_refused(definition):
    with pytest.raises(InvalidInput):
        AvroType(definition)


def test_avro_types_that_are_used_often_are_described_once() -> None:
    fields: Any = "int"
    names = []
    for level in range(14):  # each level uses the one below twice: 2^14 written out
        names.append(f"T{level}")
        second = "int" if level == 0 else f"T{level - 1}"
        fields = {
            "type": "record",
            "name": f"T{level}",
            "fields": [{"name": "a", "type": fields}, {"name": "b", "type": second}],
        }
    schema, definitions = AvroType(json.dumps(fields)).json_schema()
    assert len(json.dumps([schema, definitions])) < 20_000


@pytest.mark.parametrize(
    ("schema", "value", "place"),
    [
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, "1.5", ""),
        ({"type": "record", "name": "R", "fields": [{"name": "b", "type": "bytes"}]}, {"b": "A"}, "/b"),
        ({"type": "record", "name": "R", "fields": [{"name": "b", "type": "bytes"}]}, {"b": "AB=="}, "/b"),
        ({"type": "fixed", "name": "F", "size": 3}, "AAE=", ""),
    ],
    ids=str,
)
def test_avro_value_that_does_not_fit_is_refused_with_its_place(schema, value, place):
    with pytest.raises(Unencodable) as refused:
        AvroType(json.dumps(schema)).encode(value)
    assert refused.value.place == place
