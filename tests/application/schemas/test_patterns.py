"""Patterns that others wrote are compiled small, matched in bounded time, and fail closed."""

import pytest
from tests.application.pipeline import Pipeline, tool

from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.application.schemas.output_schema import OutputSchema
from stoa.application.schemas.patterns import (
    MAX_OWNER_SIZE,
    MAX_SIZE,
    PatternAllowance,
    PatternTooCostly,
    compiled,
    patterns_in,
)
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.results.result import ToolResult

BACKTRACKING = "^(?:(?=a)a+)+$"
TEXT = "a" * 30 + "!"
UNICODE = r"^[\p{L}\p{N}]{1,60}"


def refuses(place: object, value: object) -> bool:
    schema = ArgumentSchema({"type": "object", "properties": {"x": place}})
    try:
        schema.check({"x": value})
    except InvalidArguments as refused:
        assert TEXT not in str(refused)
        return True
    return False


@pytest.mark.parametrize(
    "pattern", [r"^(a+)+$", r"(a|a)*b", r"^\d{4}-\d{2}$", r"\p{L}+", r"^.{1,255}$", r"(?:[a-z]+\.)*x"]
)
def test_a_pattern_without_look_around_is_matched_by_a_linear_engine(pattern: str) -> None:
    assert compiled(pattern).is_linear


@pytest.mark.parametrize("pattern", [BACKTRACKING, r"^(?!.*\.\.)[a-z.]+$", r"(a)\1", r"(?<=x)a"])
def test_a_pattern_with_look_around_or_back_references_still_matches(pattern: str) -> None:
    assert not compiled(pattern).is_linear
    assert compiled(r"^(?!\s*$).+").matches("a" * 20_000)


def test_a_pattern_that_looks_back_without_end_is_given_up() -> None:
    with pytest.raises(PatternTooCostly):
        compiled(BACKTRACKING).matches(TEXT)
    for text in ("x" * 2_000_000, "a" * 3_000 + "!"):
        with pytest.raises(PatternTooCostly):
            compiled(r"(?=(a*)*)[^x]*y" if text[0] == "a" else BACKTRACKING).matches(text)


@pytest.mark.parametrize(
    "place",
    [
        {"pattern": BACKTRACKING},
        {"anyOf": [{"pattern": BACKTRACKING}, {"type": "string"}]},
        {"not": {"pattern": BACKTRACKING}},
        {"not": {"not": {"pattern": BACKTRACKING}}},
        {"if": {"pattern": BACKTRACKING}, "then": False},
        {"oneOf": [{"pattern": BACKTRACKING}, {"type": "string"}]},
    ],
)
def test_a_pattern_that_is_given_up_refuses_the_arguments_wherever_it_stands(place: object) -> None:
    assert refuses(place, TEXT)


def test_a_pattern_of_an_answer_demands_nothing() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": BACKTRACKING}}}
    result = ToolResult((), {"x": TEXT})
    assert OutputSchema("ant", schema).fit(result) is result, "what is published demands no pattern"


def test_a_name_in_pattern_properties_is_of_the_linear_kind() -> None:
    with pytest.raises(InvalidInput, match="patternProperties"):
        ArgumentSchema({"type": "object", "patternProperties": {BACKTRACKING: {}}})
    ArgumentSchema({"type": "object", "patternProperties": {"^x-": {}}})


def test_a_name_in_pattern_properties_of_an_answer_that_cannot_be_matched_demands_nothing() -> None:
    members = {BACKTRACKING: {"type": "integer"}}
    output = OutputSchema("ant", {"type": "object", "patternProperties": members, "additionalProperties": False})
    result = ToolResult((), {TEXT: "x", "other": 1})
    assert output.fit(result) is result


def test_a_pattern_that_is_none_or_too_large_is_named_with_what_to_change() -> None:
    with pytest.raises(InvalidInput, match=r"'\(' is not a regular expression"):
        compiled("(")
    with pytest.raises(InvalidInput, match=r"a\{1000\}.*maxLength"):
        compiled("(a{1000}){1000}")
    with pytest.raises(InvalidInput, match="longer than"):
        compiled("a" * 5_000)


def test_patterns_of_one_schema_have_a_limit_together() -> None:
    many = {"type": "object", "properties": {f"p{n}": {"pattern": f"{UNICODE}{n}"} for n in range(300)}}
    with pytest.raises(InvalidInput, match=r"no room left for the pattern .*\\p\{L\}"):
        ArgumentSchema(many)
    same = {"type": "object", "properties": {f"p{n}": {"pattern": UNICODE} for n in range(300)}}
    ArgumentSchema(same)
    simple = {"type": "object", "properties": {f"p{n}": {"pattern": f"^[a-z]{{1,60}}{n}$"} for n in range(300)}}
    ArgumentSchema(simple)


def test_patterns_of_one_tenant_have_a_limit_together_and_take_nothing_from_others() -> None:
    def demanding(number: int, tenant: str):
        schema = {"type": "object", "properties": {"x": {"pattern": f"{UNICODE}{tenant}{number}"}}}
        return tool(f"t{number}", tenant=tenant, input_schema=schema)

    fitting = MAX_OWNER_SIZE // MAX_SIZE
    pipeline = Pipeline(*[demanding(number, "acme") for number in range(fitting + 3)], demanding(0, "beta"))
    assert [finding.where for finding in pipeline.findings if "no room left" in finding.message] == [
        f"acme/t{fitting + more}" for more in range(3)
    ]
    again = pipeline.registry.replace([demanding(number, "acme") for number in range(fitting)])
    assert not again, "what is kept counts once"


def test_an_allowance_counts_each_pattern_once() -> None:
    allowance = PatternAllowance(1 << 10)
    for _ in range(5):
        allowance.compile("^[a-z]+$")
    with pytest.raises(InvalidInput, match="too much"):
        allowance.compile(UNICODE)


def test_patterns_in_a_schema_are_found_at_every_depth_as_they_are_written() -> None:
    texts = ['^"[a-z]"$', "\\\\d+", "ä\u2028\t", "a"]
    members = {f"m{number}": {"items": {"pattern": text}} for number, text in enumerate(texts)}
    schema = {"properties": {**members, "again": {"pattern": "a"}, "no": {"pattern": 7}}}
    assert sorted(patterns_in(schema)) == sorted((text, False) for text in texts)
    named = {**schema, "patternProperties": {"^x": {}}}
    assert set(patterns_in(named)) == {*((text, False) for text in texts), ("^x", True)}
