"""Bytes in arguments: the schema takes exactly the base64 that a record's bytes are shown as."""

import base64
import json

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stoa.infrastructure.kafka.avro import AvroType
from stoa.infrastructure.kafka.part_codec import Unencodable

BYTES = AvroType('"bytes"')
FIXED = {size: AvroType(json.dumps({"type": "fixed", "name": "F", "size": size})) for size in range(1, 8)}
FLOAT = AvroType('"float"')


def accepts(avro: AvroType, value: object) -> bool:
    schema, definitions = avro.json_schema("")
    return jsonschema_rs.is_valid({**schema, "$defs": definitions}, value)


@given(st.text("AQgwEIM09+/=", max_size=9) | st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode()))
@example("=")
@example("AB==")
@example("AAAAA")
def test_kafka_bytes_are_accepted_in_the_form_that_they_come_back_in(text: str) -> None:
    if accepts(BYTES, text):
        assert BYTES.decode(BYTES.encode(text)) == text
    else:
        with pytest.raises(Unencodable):
            BYTES.encode(text)


@given(st.sampled_from([*FIXED]), st.binary(max_size=8))
def test_kafka_fixed_bytes_are_accepted_in_their_size_alone(size: int, data: bytes) -> None:
    assert accepts(FIXED[size], base64.b64encode(data).decode()) == (len(data) == size)


@pytest.mark.parametrize(("number", "is_accepted"), [(0.5, True), (3.4028234663852886e38, True), (3.5e38, False)])
def test_kafka_float_is_accepted_where_four_bytes_hold_it(number: float, is_accepted: bool) -> None:
    assert accepts(FLOAT, number) == is_accepted
    if is_accepted:
        assert FLOAT.decode(FLOAT.encode(number)) == number
