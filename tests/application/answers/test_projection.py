"""Projections of answers: JMESPath expressions, checked before the call and bounded when they are evaluated."""

import json
from typing import Any

import pytest
from tests.application.answers.arranged import ANN, Arranged, Hiding, texts

from stoa.application.answers.projection import BadExpression, Projection, Unprojectable
from stoa.application.manifests.answers import with_answer_rules
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.metering.event import Status
from stoa.domain.operations.answer_rules import AnswerRules
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.results.redaction import REDACTED, WITHHELD
from stoa.domain.results.result import RawAnswer, TextContent, ToolResult

ORDERS = {"total": 2, "orders": [{"id": 1, "name": "a", "secret": "s1"}, {"id": 2, "name": "b", "secret": "s2"}]}
ASKED = {
    "answer": {"projectionArgument": "jmespath"},
    "inputSchema": {"type": "object", "properties": {"page": {"type": "integer"}}},
}


async def arranged(policy: Any = None, **spec: Any) -> Arranged:
    made = Arranged(policy=policy, **(spec or ASKED))
    await made.load()
    return made


@pytest.mark.parametrize(
    ("expression", "projected"),
    [
        ("orders[].id", [1, 2]),
        ("orders[?name=='b'].{id: id}", [{"id": 2}]),
        ("{count: length(orders), first: orders[0].name}", {"count": 2, "first": "a"}),
        ("sort_by(orders, &name)[-1].id", 2),
        ("join(', ', orders[].name)", "a, b"),
        ("orders[].[id, name][]", [1, "a", 2, "b"]),
        ("max_by(orders, &id).name", "b"),
        ("orders[*].to_string(id)", ["1", "2"]),
        ("orders[0] == orders[0]", True),
    ],
)
async def test_projection_gives_the_part_of_the_answer_that_was_asked_for(expression: str, projected: Any):
    made = await arranged()

    outcome = await made.call(ORDERS, page=3, jmespath=expression)

    assert outcome.result is not None
    assert outcome.result.structured == projected
    assert [json.loads(text) for text in texts(outcome)] == [projected]
    assert made.backend.received == [{"page": 3}]


@pytest.mark.parametrize("given", [{}, {"jmespath": ""}])
async def test_projection_is_optional(given: dict[str, str]):
    made = await arranged()

    outcome = await made.call(ORDERS, **given)

    assert outcome.result is not None
    assert outcome.result.structured == ORDERS
    assert made.backend.received == [{}]


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("orders[", "not complete at its end, character 8"),
        ("orders[].#x", "character 10, '#x', is not understood"),
        ("id,name", "character 3, ',name', is not understood"),
        ("nothing(@)", "there is no function nothing(); there are abs, avg"),
        ("sort_by(orders)", "sort_by() takes 2 arguments, not 1"),
        ("not_null()", "not_null() takes at least 1 arguments, not 0"),
        ("'open", "is not understood"),
        ("[" * 500, ""),
        ("(" * 40 + "a" + ")" * 40, ""),
        ("!" * 100 + "a", "nested more than 32 deep"),
    ],
)
async def test_projection_that_cannot_be_used_is_an_argument_error_and_nothing_is_sent(expression: str, told: str):
    made = await arranged()
    valid = "(" * 40 in expression  # parentheses leave no trace

    outcome = await made.call(ORDERS, jmespath=expression)

    if valid:
        assert outcome.error is None
        return
    assert isinstance(outcome.error, InvalidArguments)
    (violation,) = outcome.error.violations
    assert violation.path == "/jmespath"
    assert told in violation.expected
    assert (made.backend.received, outcome.status, outcome.cost) == ([], Status.INVALID, 0)


async def test_projection_that_is_too_long_is_an_argument_error():
    made = await arranged()

    outcome = await made.call(ORDERS, jmespath="a" * 1025)

    assert isinstance(outcome.error, InvalidArguments)
    assert made.backend.received == []


async def test_projection_is_checked_by_explanations_too():
    made = await arranged()

    bad = await made.gateway.explain_call.execute(ANN, None, "orders", {"jmespath": "a["}, "library", to_operator=True)
    good = await made.gateway.explain_call.execute(ANN, None, "orders", {"jmespath": "a"}, "library", to_operator=True)

    assert [violation.path for violation in bad.violations] == ["/jmespath"]
    assert good.request == {"arguments": {}}


@pytest.mark.parametrize(
    ("expression", "note"),
    [
        ("sum(orders)", "one of its functions or comparisons does not suit"),
        ("orders[?id < 'a']", "one of its functions or comparisons does not suit"),
        ("length(`1`)", "one of its functions or comparisons does not suit"),
    ],
)
async def test_projection_that_does_not_suit_the_answer_leaves_it_whole(expression: str, note: str):
    made = await arranged()

    outcome = await made.call(ORDERS, jmespath=expression)

    text, told = texts(outcome)
    assert json.loads(text) == ORDERS
    assert note in told


async def test_projection_that_finds_nothing_names_what_there_is():
    made = await arranged()

    outcome = await made.call(ORDERS, jmespath="items")

    assert texts(outcome) == ["null", "[The projection finds nothing; the answer has the members total, orders.]"]


async def test_projection_of_text_and_of_errors_changes_nothing():
    made = await arranged()

    plain = await made.call(RawAnswer(b"orders", "text/plain"), jmespath="orders")
    refused = await made.call(RawAnswer(b'{"a":1}', "application/json", is_error=True, status="404 No"), jmespath="a")

    assert texts(plain)[0] == "orders"
    assert "no JSON" in texts(plain)[1]
    assert texts(refused) == ['404 No\n{"a":1}']


async def test_projection_cannot_uncover_what_the_policy_hides():
    made = await arranged(policy=Hiding("/orders/*/secret"))

    moved = await made.call(ORDERS, jmespath="{total: orders[].secret}")
    withheld = await made.call(["s1"], jmespath="[0]")

    assert moved.result is not None
    assert moved.result.structured == {"total": [REDACTED, REDACTED]}
    assert texts(withheld) == [WITHHELD]


async def test_projection_of_a_long_answer_is_cut_if_it_is_long_itself():
    made = await arranged(answer={"projectionArgument": "jmespath", "maxCharacters": 1024})
    many = {"items": [{"id": number, "text": "x" * 50} for number in range(300)]}

    short = await made.call(many, jmespath="items[:3].id")
    long = await made.call(many, jmespath="items[].id")

    assert texts(short) == ["[0,1,2]"]
    assert json.loads(texts(long)[0])[:3] == [0, 1, 2]
    assert "of 300 entries are shown" in texts(long)[1]


async def test_projection_of_the_author_goes_first():
    made = await arranged(answer={"projection": "orders[].{id: id, name: name}", "projectionArgument": "jmespath"})

    plain, asked = await made.call(ORDERS), await made.call(ORDERS, jmespath="[].name")

    assert plain.result is not None
    assert asked.result is not None
    assert plain.result.structured == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert asked.result.structured == ["a", "b"]


async def test_projection_of_what_is_no_raw_answer():
    made = await arranged()

    outcome = await made.call(ToolResult((TextContent("?"),), {"a": {"b": 1}}), jmespath="a")

    assert outcome.result is not None
    assert outcome.result.structured == {"b": 1}


async def test_author_hears_of_a_bad_projection():
    made = Arranged(answer={"projection": "orders[].#"})

    with pytest.raises(InvalidInput, match=r"spec\.answer\.projection: .*character 10, '#', is not understood"):
        await made.load()


async def test_author_cannot_promise_a_shape_that_callers_choose():
    made = Arranged(answer={"projectionArgument": "jmespath"}, outputSchema={"type": "object", "properties": {}})

    with pytest.raises(InvalidInput, match=r"spec\.outputSchema: with spec\.answer\.projectionArgument"):
        await made.load()


def test_projected_tool_promises_no_output_and_outlines_it_instead():
    tool = Tool(
        name="orders",
        binding=LocalBinding(function="f"),
        input_schema={"type": "object", "properties": {"jmespath": {"type": "string"}}},
        output_schema={
            "type": "object",
            "properties": {"total": {"type": "integer"}, "orders": {"type": "array", "items": {"$ref": "#/$defs/o"}}},
            "$defs": {"o": {"type": "object", "properties": {"id": {}, "name": {}}}},
        },
    )

    changed = with_answer_rules(tool, AnswerRules(projection_argument="jmespath"))

    assert changed.output_schema is None
    assert changed.answer.projection_argument == "jmespath_of_answer"  # the API has a parameter of that name
    argument = changed.input_schema["properties"]["jmespath_of_answer"]
    assert argument["description"].endswith("The answer has total, orders[].(id, name).")
    assert with_answer_rules(tool, AnswerRules()) is tool
    assert with_answer_rules(tool, AnswerRules(max_characters=2000)).output_schema == tool.output_schema


_BIG = {"rows": [{"id": number, "text": "x" * 20} for number in range(2000)]}


@pytest.mark.parametrize(
    "expression",
    [
        "|".join(["[@,@]"] * 30),
        "[@,@][]|" * 25 + "@",
        "|".join(["[@,@]"] * 30) + "|to_string(@)",
        "|".join(["[@,@]"] * 30) + "|[@ == [@[1], @[0]]]",
        "to_string(@)|" * 3 + "[" + ",".join(["@"] * 60) + "]|join('', @)|[" + ",".join(["@"] * 60) + "]|join(@[0], @)",
        "map(&map(&[@,@,@,@,@,@,@,@,@], values(@)), [rows, rows, rows, rows, rows, rows, rows][])",
    ],
    ids=["copies", "flat copies", "written copies", "compared copies", "joined copies", "nested maps"],
)
def test_projection_that_would_grow_without_an_end_is_stopped(expression: str):
    with pytest.raises(Unprojectable, match="too much work"):
        Projection(expression[:1024]).of(_BIG)


def test_projection_is_refused_where_its_text_is_too_long():
    with pytest.raises(BadExpression, match="more than 1024"):
        Projection("a" * 1025)
