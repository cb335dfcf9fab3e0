"""The policy sees the arguments that the back end gets: coerced before the decision, and not changed after it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.application.pipeline import ANN, Pipeline, tool
from tests.strategies import json_objects, json_values

from stoa.application.gateway import Gateway
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.domain.errors import NotPermitted
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding
from stoa.domain.policy.decision import Decision, PolicyQuery

PROPERTIES = {
    "force": {"type": "boolean"},
    "accounts": {"type": "array", "items": {"type": "integer"}},
    "amount": {"type": ["integer", "null"]},
    "price": {"type": "number"},
    "options": {"type": "object"},
    "text": {"type": ["string", "integer"]},
    "any": {},
}
SCHEMA = {"type": "object", "properties": PROPERTIES}
NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = {
    "force": st.booleans(),
    "accounts": st.lists(st.integers(-9, 9)),
    "amount": st.integers() | st.just(2.0),
    "price": NUMBERS,
    "options": json_objects,
    "text": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    "any": json_values(),
}
COERCED = ["force", "accounts", "amount", "price", "options"]


def _is_denied(query: PolicyQuery) -> bool:
    arguments = query.arguments
    amount = arguments.get("amount")
    return (
        arguments.get("force") is True
        or (isinstance(arguments.get("accounts"), list) and 7 in arguments["accounts"])
        or (isinstance(amount, (int, float)) and amount < 0)
    )


RULES = (*DEFAULT_RULES, Rule("careful", "deny", _is_denied, "not this one", reads_arguments=True))


class RecordingPolicy(RulesPolicyEngine):
    def __init__(self) -> None:
        super().__init__(RULES)
        self.seen: list[Any] = []

    async def decide(self, query: PolicyQuery) -> Decision:
        self.seen.append(query.arguments)
        return await super().decide(query)


def pipeline_of(schema: Any = SCHEMA) -> tuple[Pipeline, RecordingPolicy]:
    policy = RecordingPolicy()
    pipeline = Pipeline(tool("refund", input_schema=schema), policy=policy)
    pipeline.policy = policy
    return pipeline, policy


@pytest.mark.parametrize(
    "arguments",
    [{"force": True}, {"force": "true"}, {"accounts": [7]}, {"accounts": "[7]"}, {"amount": -5}, {"amount": " -5"}],
)
async def test_a_policy_on_arguments_denies_them_however_they_are_written(arguments: Any) -> None:
    pipeline, _ = pipeline_of()
    outcome = await pipeline.invoke("refund", arguments)
    assert isinstance(outcome.error, NotPermitted)
    assert not pipeline.backend.received


spellings = st.fixed_dictionaries({}, optional=VALUES).flatmap(
    lambda meant: st.tuples(st.just(meant), st.sets(st.sampled_from(COERCED)))
)


@given(spellings)
async def test_a_policy_decides_alike_on_equal_arguments_and_sees_what_the_back_end_gets(case: Any) -> None:
    meant, as_text = case
    written = {name: json.dumps(value) if name in as_text else value for name, value in meant.items()}
    pipeline, policy = pipeline_of()
    first, second = await pipeline.invoke("refund", meant), await pipeline.invoke("refund", written)
    assert first.decision == second.decision
    assert (first.status, str(first.error)) == (second.status, str(second.error))
    assert json.dumps(policy.seen[0]) == json.dumps(policy.seen[1])
    for (got, _), seen in zip(pipeline.backend.received, policy.seen, strict=False):
        assert got is seen, "nothing comes between the decision and the back end"


@given(st.dictionaries(st.sampled_from(sorted(PROPERTIES)), json_values() | st.text(max_size=4)))
def test_normalising_arguments_twice_is_normalising_once(arguments: Any) -> None:
    schema = ArgumentSchema(SCHEMA)
    once = schema.normalise(arguments)
    assert schema.normalise(once) is once
    assert {name for name in arguments if name not in once} <= {name for name, one in arguments.items() if one is None}


@pytest.mark.parametrize("text", ["1e400", "-1e400", "NaN", "Infinity", "[1e400]", '{"a": [1e400]}'])
@pytest.mark.parametrize("name", ["price", "accounts", "options"])
async def test_a_number_that_json_cannot_say_never_reaches_a_back_end(name: str, text: str) -> None:
    pipeline, _ = pipeline_of()
    assert (await pipeline.invoke("refund", {name: text})).error is not None
    for raw in (float("inf"), [float("nan")], {"a": [-float("inf")]}):
        assert (await pipeline.invoke("refund", {"any": raw})).error is not None
    assert not pipeline.backend.received


async def test_explanations_decide_on_the_arguments_of_a_call() -> None:
    gateway = Gateway(policy=RulesPolicyEngine(RULES))

    async def refund(force: bool = False, amount: int = 0) -> str:
        return "done"

    gateway.tool(refund, tenant="acme", annotations={"read_only_hint": True})
    for arguments in ({"force": "true"}, {"amount": "-1"}):
        found = await gateway.explain_call.execute(ANN, None, "refund", arguments, "cli")
        assert found.decision is not None
        assert not found.decision.is_allowed
        assert isinstance((await gateway.invoke("refund", arguments, ANN)).error, NotPermitted)


async def test_a_variable_of_a_resource_is_normalised_before_the_policy() -> None:
    policy = RecordingPolicy()
    read = Resource.model_validate(
        {
            "uri": "refunds://{amount}",
            "tenant": "acme",
            "input_schema": {"type": "object", "properties": {"amount": {"type": "integer"}}},
            "binding": LocalBinding(function="read"),
        }
    )
    pipeline = Pipeline(read, policy=policy)
    outcome = await pipeline.invoke("refunds://-5", kind="resource")
    assert isinstance(outcome.error, NotPermitted)
    assert policy.seen == [{"amount": -5}]
