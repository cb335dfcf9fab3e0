"""Python functions as tools: schemas from signatures, typed values inwards, JSON outwards, nothing leaked."""

import asyncio
import functools
import logging
import threading
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from tests.application.pipeline import ANN
from tests.strategies import json_values

from stoa.application.backends.local_backend import LocalBackend
from stoa.application.gateway import Gateway
from stoa.application.memory.rate_limiter import Unlimited
from stoa.domain.errors import InvalidArguments, InvalidInput, StoaError
from stoa.domain.metering.event import Status
from stoa.domain.operations.tool import LocalBinding, RestBinding, Tool
from stoa.domain.results.result import MISSING, TextContent, ToolResult


class Colour(Enum):
    RED = "red"


class Pet(BaseModel):
    name: str
    age: int = 0


@dataclass
class Point:
    x: float
    y: float = 0.0


async def called(function, arguments, **fields):
    gateway = Gateway(limiter=Unlimited())
    gateway.tool(function, name="f", **fields)
    return await gateway.invoke("f", arguments, ANN)


def schema_of(function):
    return LocalBackend().add("f", function)


async def test_a_signature_becomes_a_schema_and_arguments_become_typed_values():
    seen: list[Any] = []

    def adopt(
        pet: Pet,
        at: Point,
        on: date,
        colour: Colour,
        count: Annotated[int, Field(ge=1)],
        kind: Literal["a", "b"] = "a",
        note: str | None = None,
        rest: int = Field(default=3, le=9),
    ) -> None:
        seen.append((pet, at, on, colour, count, kind, note, rest))

    schema = schema_of(adopt)
    assert schema["required"] == ["pet", "at", "on", "colour", "count"]
    assert list(schema["properties"]) == ["pet", "at", "on", "colour", "count", "kind", "note", "rest"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["rest"]["default"] == 3
    arguments = {"pet": {"name": "Rex"}, "at": {"x": 1}, "on": "2026-01-02", "colour": "red", "count": 2}
    outcome = await called(adopt, arguments)
    assert outcome.result == ToolResult((TextContent(""),))
    assert seen == [(Pet(name="Rex"), Point(1.0), date(2026, 1, 2), Colour.RED, 2, "a", None, 3)]


@pytest.mark.parametrize("change", [{"count": 0}, {"extra": 1}, {"count": None}, {}])
async def test_arguments_outside_the_signature_are_refused_before_the_function_runs(change):
    def never(count: Annotated[int, Field(ge=1)]) -> None:
        raise AssertionError

    outcome = await called(never, change)
    assert isinstance(outcome.error, InvalidArguments)


async def test_what_only_the_type_can_check_is_an_error_result():
    def on(day: date) -> str:
        return day.isoformat()

    outcome = await called(on, {"day": "2026-02-30"})
    assert outcome.status is Status.ERROR
    assert outcome.result is not None
    assert outcome.result.is_error
    assert "day" in outcome.result.content[0].text
    assert "2026-02-30" not in outcome.result.content[0].text


@pytest.mark.parametrize("name", ["json", "copy", "schema", "model_config", "_hidden", "self", "class_", "p0", "name"])
async def test_a_parameter_may_have_any_name(name):
    space: dict[str, Any] = {}
    exec(f"def f({name}: int, p1: int = 5): return [{name}, p1]", space)
    outcome = await called(space["f"], {name: 7})
    assert outcome.result is not None
    assert outcome.result.structured == [7, 5]


@given(json_values())
@settings(max_examples=30, deadline=None)
async def test_any_json_value_comes_back_as_it_is(value):
    def echo(value: Any) -> Any:
        return value

    outcome = await called(echo, {"value": value})
    assert outcome.result is not None
    expected = MISSING if value is None or isinstance(value, str) else value
    assert outcome.result.structured == expected


@pytest.mark.parametrize(
    ("value", "text", "structured"),
    [
        ("hi", "hi", MISSING),
        (None, "", MISSING),
        (Pet(name="Rex"), '{"name":"Rex","age":0}', {"name": "Rex", "age": 0}),
        (Point(1.0), '{"x":1.0,"y":0.0}', {"x": 1.0, "y": 0.0}),
        ([date(2026, 1, 2)], '["2026-01-02"]', ["2026-01-02"]),
        ((1, 2), "[1,2]", [1, 2]),
        ({"n": float("nan")}, '{"n":null}', {"n": None}),
        ("\ud800", "?", MISSING),
    ],
)
async def test_what_a_function_returns_becomes_text_and_structure(value, text, structured):
    outcome = await called(lambda: value, {})
    assert outcome.result == ToolResult((TextContent(text),), structured)


async def test_a_result_of_its_own_is_left_alone():
    own = ToolResult.error("no such pet")
    outcome = await called(lambda: own, {})
    assert (outcome.result, outcome.status) == (own, Status.ERROR)


async def test_a_synchronous_function_runs_in_a_thread_and_an_asynchronous_one_does_not():
    here = threading.get_ident()

    async def asynchronous() -> bool:
        return threading.get_ident() == here

    class Waiter:
        async def __call__(self) -> bool:
            return threading.get_ident() == here

    for function, is_here in (
        (lambda: threading.get_ident() == here, False),
        (asynchronous, True),
        (functools.partial(asynchronous), True),
        (Waiter(), True),
    ):
        outcome = await called(function, {})
        assert outcome.result is not None
        assert outcome.result.structured is is_here


async def test_a_function_that_waits_is_stopped_at_its_deadline():
    stopped = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            stopped.set()

    outcome = await called(wait, {}, timeout_seconds=0.01)
    assert outcome.status is Status.TIMEOUT
    assert stopped.is_set()


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_exception_is_an_error_that_tells_the_caller_nothing_and_the_log_everything(is_async, caplog):
    def fail() -> None:
        raise RuntimeError("password hunter2")

    async def fail_later() -> None:
        fail()

    outcome = await called(fail_later if is_async else fail, {})
    assert (outcome.status, outcome.result) == (Status.ERROR, None)
    assert type(outcome.error) is StoaError
    assert "hunter2" not in outcome.error.message
    assert outcome.event.event_id in outcome.error.message
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "hunter2" in caplog.text


async def test_what_cannot_be_written_as_json_is_a_defect_that_does_not_leak(caplog):
    outcome = await called(lambda: object(), {})
    assert type(outcome.error) is StoaError
    assert outcome.status is Status.ERROR


def positional(a: int, /) -> None: ...
def several(*numbers: int) -> None: ...
def named(**numbers: int) -> None: ...
def no_json(a: threading.Lock) -> None: ...  # type: ignore[valid-type]
def unknown(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("function", [positional, several, named, no_json, unknown, 5])
def test_a_signature_that_cannot_be_described_is_refused_and_leaves_nothing_behind(function):
    backend = LocalBackend()
    with pytest.raises(InvalidInput):
        backend.add("f", function)
    with pytest.raises(InvalidInput, match="not registered"):
        backend.prepare(Tool(name="f", binding=LocalBinding(function="f")))


def test_one_name_stands_for_one_function():
    def two() -> None: ...

    backend = LocalBackend()
    assert backend.add("f", two) == backend.add("f", two)
    with pytest.raises(InvalidInput, match="registered already"):
        backend.add("f", lambda: None)


def test_a_tool_of_another_kind_is_refused():
    rest = RestBinding(method="GET", base_url="http://127.0.0.1:9", path="/")
    with pytest.raises(InvalidInput):
        LocalBackend().prepare(Tool(name="f", binding=rest))


def test_schemas_do_not_depend_on_the_functions_name():
    assert schema_of(lambda: None) == {"type": "object", "properties": {}, "additionalProperties": False}


@given(st.lists(st.sampled_from("abcdef"), unique=True, max_size=4))
def test_required_are_the_parameters_without_a_default(names):
    space: dict[str, Any] = {}
    exec(f"def f({', '.join(f'{name}: int' for name in names)}{', ' if names else ''}z: int = 1): ...", space)
    assert schema_of(space["f"]).get("required", []) == names
