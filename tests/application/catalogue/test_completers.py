"""Functions that complete arguments: what they get, and what of theirs reaches the caller."""

import asyncio
import itertools
import logging
import threading
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application import Gateway, Principal
from stoa.application.catalogue.complete_argument import MAX_VALUES, Completion, CompletionQuery
from stoa.application.catalogue.completers import MAX_OFFERED, THREADS, Completers
from stoa.domain.errors import InvalidInput, PromptNotFound
from stoa.domain.operations.operation import OperationKey

ANN = Principal.of("ann", tenant="alpha", roles=["tenant-admin"])
BOB = Principal.of("bob", tenant="beta", roles=["tenant-admin"])
KEY = OperationKey(None, "p", "prompt")
CITIES = {"fr": ["Paris", "Pau"], "de": ["Berlin", "Potsdam"]}


async def complete(
    gateway: Gateway, argument: str, value: str = "", caller: Principal = ANN, **rest: Any
) -> Completion:
    fields: dict[str, Any] = {"kind": "prompt", "name": "trip"} | rest
    query = CompletionQuery(argument=argument, value=value, **fields)
    return await gateway.complete_argument.execute(caller, query, "library")


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_function_gets_the_typed_value_and_the_other_arguments(is_async: bool) -> None:
    gateway = Gateway()

    def offered(value: str, arguments: Mapping[str, str]) -> list[str]:
        assert "city" not in arguments
        return [city for city in CITIES[arguments["country"]] if city.startswith(value)]

    async def offered_later(value: str, arguments: Mapping[str, str]) -> list[str]:
        await asyncio.sleep(0)
        return offered(value, arguments)

    @gateway.prompt(completions={"city": offered_later if is_async else offered, "country": ["fr", "de"]})
    def trip(country: str, city: str) -> str:
        return f"{country} {city}"

    known = {"country": "de", "city": "typed"}
    assert await complete(gateway, "city", "P", arguments=known) == Completion(("Potsdam",), 1)
    assert await complete(gateway, "city", "P", arguments={"country": "fr"}) == Completion(("Paris", "Pau"), 2)
    assert await complete(gateway, "country", "D") == Completion(("de",), 1)
    assert (await gateway.invoke("trip", {"country": "x", "city": "y"}, ANN, kind="prompt")).result is not None


async def test_variables_of_a_template_are_completed_by_functions_lists_and_types() -> None:
    gateway = Gateway()

    @gateway.resource("shop://{region}/{colour}/{item}", completions={"item": lambda _, known: [known["region"]]})
    def read(region: Literal["eu", "us"], colour: Literal["red"], item: str) -> str:
        return region + colour + item

    of_template = {"kind": "resource", "name": "shop://{region}/{colour}/{item}"}
    assert (await complete(gateway, "region", "U", **of_template)).values == ("us",)
    assert (await complete(gateway, "colour", "", **of_template)).values == ("red",)
    assert (await complete(gateway, "item", "", arguments={"region": "eu"}, **of_template)).values == ("eu",)
    gateway.resource("bare://{item}")(lambda item: item)
    assert await complete(gateway, "item", "", kind="resource", name="bare://{item}") == Completion((), 0)
    with pytest.raises(InvalidInput, match="size"):
        gateway.resource("x://{item}", completions={"size": ["s"]})(lambda item: item)


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


async def test_a_type_that_lists_its_values_needs_no_completions() -> None:
    gateway = Gateway()

    @gateway.prompt(completions={"own": ["x"]})
    def trip(
        size: Size,
        kind: Literal["car", "train"] = "car",
        maybe: Literal["a", "b"] | None = None,
        number: Literal[1, 2] = 1,
        own: Literal["x", "y"] = "x",
        free: str = "",
    ) -> str:
        return f"{size} {kind} {maybe} {number} {own} {free}"

    expected = {
        "size": ("s", "l"),
        "kind": ("car", "train"),
        "maybe": ("a", "b"),
        "number": (),
        "own": ("x",),
        "free": (),
    }
    assert {name: (await complete(gateway, name)).values for name in expected} == expected
    outcome = await gateway.invoke("trip", {"size": "l", "kind": "train"}, ANN, kind="prompt")
    assert outcome.result is not None


async def test_a_function_that_wants_it_gets_the_caller() -> None:
    gateway = Gateway()

    def of_caller(value: str, arguments: Mapping[str, str], who: Principal) -> list[str]:
        return [f"{who.tenant}-{who.subject}"]

    @gateway.prompt(completions={"name": of_caller})
    def trip(name: str) -> str:
        return name

    assert (await complete(gateway, "name")).values == ("alpha-ann",)
    assert (await complete(gateway, "name", caller=BOB)).values == ("beta-bob",)


async def test_no_function_runs_for_a_prompt_that_the_caller_does_not_see() -> None:
    gateway = Gateway()
    asked: list[str] = []

    def note(value: str, _: Mapping[str, str]) -> list[str]:
        asked.append(value)
        return ["secret"]

    gateway.prompt(lambda name: name, name="trip", tenant="alpha", completions={"name": note})
    with pytest.raises(PromptNotFound):
        await complete(gateway, "name", caller=BOB)
    assert asked == []
    assert (await complete(gateway, "name")).values == ("secret",)


def _crash(value: str, arguments: Mapping[str, str]) -> list[str]:
    raise RuntimeError("a secret of the program")


@pytest.mark.parametrize(
    "offered",
    [_crash, lambda *_: None, lambda *_: "text", lambda *_: [1], lambda *_: ["x" * 1001], lambda *_: {"a": 1}.items()],
    ids=["crash", "none", "text", "number", "long", "pairs"],
)
async def test_what_fails_is_an_empty_list_and_a_line_in_the_log(
    offered: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = Gateway()
    gateway.prompt(lambda name: name, name="trip", completions={"name": offered})
    with caplog.at_level(logging.WARNING):
        assert await complete(gateway, "name") == Completion((), 0)
    assert ["global/prompt:trip, argument name" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("value", [1, b"x", None, "x" * 1001])
async def test_the_log_says_what_a_function_that_completes_has_to_give(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = Gateway()
    gateway.prompt(lambda name: name, name="trip", completions={"name": lambda *_: ["fine", value]})
    with caplog.at_level(logging.WARNING):
        assert (await complete(gateway, "name")).values == ()
    assert "a function that completes gives texts of at most 1000 characters" in caplog.text


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3 * MAX_VALUES))
async def test_at_most_a_hundred_values_are_offered_and_all_are_counted(count: int) -> None:
    gateway = Gateway()
    functions: Any = {"own": lambda *_: [f"v{n}" for n in range(count)]}
    listed = {"listed": [f"v{n}" for n in range(count)]}
    gateway.prompt(lambda own, listed: own + listed, name="trip", completions=functions | listed)
    for argument in ("own", "listed"):
        found = await complete(gateway, argument, caller=BOB.model_copy(update={"subject": f"{count}{argument}"}))
        assert (len(found.values), found.total) == (min(count, MAX_VALUES), count)


async def test_an_endless_source_is_cut_off() -> None:
    completers = Completers()
    completers.add(KEY, "a", lambda *_: map(str, itertools.count()))
    found = await completers.offer(KEY, "a", "", {}, ANN)
    assert found is not None
    assert len(found) == MAX_OFFERED
    completers.close()


async def test_functions_that_hang_take_no_thread_from_calls_and_nothing_waits_for_them() -> None:
    completers, go_on = Completers(timeout_seconds=0.02), threading.Event()
    completers.add(KEY, "a", lambda *_: [str(go_on.wait(20))])
    completers.add(KEY, "b", _never)
    assert await completers.offer(KEY, "b", "", {}, ANN) == ()
    hanging = [completers.offer(KEY, "a", "", {}, ANN) for _ in range(THREADS + 3)]
    assert await asyncio.gather(*hanging) == [()] * (THREADS + 3)
    assert await asyncio.to_thread(lambda: "free") == "free"
    go_on.set()
    completers.close()


async def _never(value: str, arguments: Mapping[str, str]) -> list[str]:
    await asyncio.Event().wait()
    return []


@pytest.mark.parametrize("function", [lambda value: [], lambda a, b, c: []], ids=["too few", "too many"])
def test_a_function_that_cannot_be_called_like_this_is_refused_at_once(function: Any) -> None:
    gateway = Gateway()
    with pytest.raises(InvalidInput, match=r"argument name: a function that completes it takes the typed value"):
        gateway.prompt(lambda name: name, name="trip", completions={"name": function})


def test_a_function_whose_type_hints_cannot_be_read_is_refused_at_once() -> None:
    def offered(value: "Nowhere", arguments: Any) -> list[str]:  # type: ignore[name-defined]  # noqa: F821
        return []

    with pytest.raises(InvalidInput, match="its type hints must be importable"):
        Gateway().prompt(lambda name: name, name="trip", completions={"name": offered})


def test_completions_are_for_parameters_that_are_there() -> None:
    for proposed in (["x"], _crash):
        with pytest.raises(InvalidInput, match="colour"):
            Gateway().prompt(lambda name: name, name="trip", completions={"colour": proposed})
