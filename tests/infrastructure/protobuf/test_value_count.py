"""The values of a message are counted as they are on the wire, never too few."""

import contextlib
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.protobuf.test_message_plan import judge, messages

from stoa.infrastructure.protobuf.value_count import ValueCounter


def values_of(message: Any) -> int:
    """Fields, elements and entries, of messages within it too."""
    return sum(_values_of_field(field, value) for field, value in message.ListFields())


def _values_of_field(field: Any, value: Any) -> int:
    if not field.is_repeated:
        return 1 + (values_of(value) if field.message_type is not None else 0)
    if field.message_type is None:
        return len(value)
    if not field.message_type.GetOptions().map_entry:
        return len(value) + sum(map(values_of, value))
    inner = field.message_type.fields_by_name["value"]
    nested = sum(values_of(value[key]) for key in value) if inner.message_type is not None else 0
    return 3 * len(value) + nested


@pytest.mark.parametrize("syntax", ["v2", "v3"])
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_value_count_is_never_too_low(syntax: str, data: st.DataObject) -> None:
    pool, kind = judge(syntax)
    message = kind()
    with contextlib.suppress(json_format.ParseError):  # what was read before it counts
        json_format.ParseDict(data.draw(messages(kind.DESCRIPTOR)), message, descriptor_pool=pool)
    wire, count = message.SerializePartialToString(), values_of(message)
    assert not count or ValueCounter().has_more(kind.DESCRIPTOR, wire, count - 1)


@pytest.mark.parametrize(
    ("content", "syntax", "count"),
    [
        ({"text": "x" * 1000, "blob": "AAAA"}, "v3", 2),
        ({"inner": {"inner": {"i32": 1}}}, "v3", 3),
        ({"byNumber": {"1": {"text": "a"}, "2": {}}}, "v3", 7),
        ({"f64": "1", "sf32": 1, "more": [{}, {}]}, "v3", 4),
        ({"id": 1, "sub": {"ratio": 0.5}, "text": "x"}, "v2", 5),  # the end of a group is counted, too
    ],
)
def test_value_count_is_exact_for_messages_without_packed_numbers(content: Any, syntax: str, count: int) -> None:
    pool, kind = judge(syntax)
    wire = json_format.ParseDict(content, kind(), descriptor_pool=pool).SerializeToString()
    assert ValueCounter().has_more(kind.DESCRIPTOR, wire, count - 1)
    assert not ValueCounter().has_more(kind.DESCRIPTOR, wire, count)


@given(st.binary(max_size=60))
def test_value_count_of_arbitrary_bytes_ends(wire: bytes) -> None:
    for syntax in ("v2", "v3"):
        assert not ValueCounter().has_more(judge(syntax)[1].DESCRIPTOR, wire, 60)
