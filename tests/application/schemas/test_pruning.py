"""Answers with very many values that their schema does not allow: the work is bounded, and what is kept fits."""

import jsonschema_rs
import pytest

from stoa.application.schemas.output_schema import OutputSchema, relaxed
from stoa.application.schemas.pruning import MAX_LOOKS
from stoa.domain.results.result import ToolResult

SCHEMA = {
    "type": "object",
    "properties": {
        "list": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
        "by": {"type": "object", "additionalProperties": {"type": "integer"}},
        "after": {"type": "object", "properties": {"id": {"type": "string"}}},
        "count": {"type": "integer"},
    },
}


@pytest.mark.parametrize("wrong", [7, {"id": []}, {"id": {}, "x": 1}])
def test_pruning_of_very_many_wrong_entries_ends_their_list_and_keeps_what_needs_no_look(wrong):
    answer = {"list": [{"id": "a"}, *[wrong] * (2 * MAX_LOOKS)], "after": {"id": "b"}, "count": 3}
    result = OutputSchema("many", SCHEMA).fit(ToolResult((), answer))
    assert jsonschema_rs.validator_for(relaxed(SCHEMA)).is_valid(result.structured)
    assert result.structured["list"][0] == {"id": "a"}
    assert len(result.structured["list"]) <= MAX_LOOKS
    assert result.structured["count"] == 3
    assert {"/list/*", "/after"} <= {*result.omitted}


def test_pruning_of_very_many_wrong_members_leaves_them_out():
    answer = {"by": {f"m{number}": "few" for number in range(2 * MAX_LOOKS)}, "count": 3}
    result = OutputSchema("many", SCHEMA).fit(ToolResult((), answer))
    assert (result.structured, result.omitted) == ({"by": {}, "count": 3}, ("/by/*",))


def test_pruning_of_a_thousand_records_with_one_wrong_member_each_keeps_all_records():
    answer = {"list": [{"id": [], "n": number} for number in range(1000)]}
    result = OutputSchema("records", SCHEMA).fit(ToolResult((), answer))
    assert (result.structured, result.omitted) == ({"list": [{"n": number} for number in range(1000)]}, ("/list/*/id",))
