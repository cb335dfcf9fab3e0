"""Looking at JSON whose shape is not known."""

from typing import Any

from hypothesis import given
from tests.strategies import json_values

from stoa.domain.schema.json_value import as_object, is_array, is_object


@given(json_values())
def test_an_object_is_itself_and_everything_else_an_empty_one(value: Any) -> None:
    assert is_object(value) == (type(value) is dict)
    assert is_array(value) == (type(value) is list)
    assert as_object(value) == (value if type(value) is dict else {})
    assert as_object({"a": 1}) == {"a": 1}
