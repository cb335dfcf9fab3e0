"""JSON that clients send: bounded in its values before it is parsed, and large texts rest between each other."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.interfaces.wire.json_text import LARGE_BYTES, MAX_VALUES, PacedParser, TooManyValues, parse_json

FILL = b" " * LARGE_BYTES


def _separators(value: Any) -> int:
    """Commas, colons and opening brackets that `value` is written with."""
    if isinstance(value, dict):
        return max(2 * len(value), 1) + sum(map(_separators, value.values()))
    if isinstance(value, list):
        return max(len(value), 1) + sum(map(_separators, value))
    return 0


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"1," * MAX_VALUES + b"1]",
        b"[" * (MAX_VALUES + 1),
        b'{"a":' * (MAX_VALUES // 2 + 1),
        b"[" + b'"",' * MAX_VALUES + b'""]',
        b"[" + b'"",' * 5 * MAX_VALUES + b'""]',
        b'["' + b"\\\\" * 9 + b'",' + b"1," * MAX_VALUES + b"1]",
    ],
)
def test_json_of_too_many_values_is_not_parsed(text: bytes) -> None:
    with pytest.raises(TooManyValues):
        parse_json(text + FILL)


@pytest.mark.parametrize("filler", [",", '","', "\\,", '\\"[', "{:["])
def test_json_with_long_strings_is_parsed_whatever_stands_in_them(filler: str) -> None:
    value = {"text": filler * 2 * MAX_VALUES, "rows": [1, 2]}
    assert parse_json(json.dumps(value).encode()) == value


def test_json_of_as_many_values_as_it_may_hold_is_parsed() -> None:
    text = json.dumps([1.5] * MAX_VALUES).encode()
    assert len(text) > LARGE_BYTES
    assert len(parse_json(text)) == MAX_VALUES


@given(
    st.recursive(
        st.text(alphabet='a",:[{\\é', max_size=6),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='",a\\'), inner),
    )
)
def test_json_values_are_counted_outside_of_strings_only(value: Any) -> None:
    wide = [value, *([0] * (MAX_VALUES - _separators(value) - 3))]
    text = FILL + json.dumps(wide).encode()
    assert parse_json(text) == wide
    with pytest.raises(TooManyValues):
        parse_json(FILL + json.dumps([*wide, *([0] * 9)]).encode())


async def test_json_of_large_size_rests_as_long_as_it_was_worked_on() -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    looks = iter([0.0, 0.0, 2.0, 2.5, 3.5, 4.0, 4.0, 5.0])
    parser = PacedParser(rest, lambda: next(looks))
    large = FILL + b"[1]"
    assert await parser.parse(large) == [1]
    assert await parser.parse(large) == [1]
    assert rests == [1.5, 0.5], "from 2.5 to 4.0, in two parts because another could have come first"
    assert await parser.parse(b"[1]") == [1], "a small text asks for no time"
    assert next(looks, None) is None


@pytest.mark.parametrize("offset", range(4))
def test_json_values_are_counted_alike_wherever_an_escape_stands(offset: int) -> None:
    filling = "x" * (32 * 1024 - 4 + offset)  # so that the escape lies across the end of a piece
    text = f'["{filling}\\"{"," * (MAX_VALUES + 1)}"]'.encode()
    assert parse_json(text) == [f'{filling}"{"," * (MAX_VALUES + 1)}']
