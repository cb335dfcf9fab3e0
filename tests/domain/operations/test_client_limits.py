"""What some client would not take of a tool, and what to change."""

from typing import Any

import pytest

from stoa.domain.operations.client_limits import DESCRIPTION_LIMIT, note_on_count, notes_on
from stoa.domain.operations.tool import LocalBinding, Tool


def notes(name: str = "ant", description: str = "", arguments: tuple[str, ...] = ("n",), **schema: Any) -> list[str]:
    input_schema = {"type": "object", "properties": {one: {"type": "string"} for one in arguments}, **schema}
    binding = LocalBinding(function="f")
    return list(notes_on(Tool(name=name, description=description, input_schema=input_schema, binding=binding)))


@pytest.mark.parametrize("name", ["a", "A-z_09", "x" * 48])
def test_a_tool_that_every_client_takes_has_no_note(name: str) -> None:
    assert notes(name, "x" * DESCRIPTION_LIMIT, (name, "a.b", "y" * 64)) == []
    assert DESCRIPTION_LIMIT == 2048


@pytest.mark.parametrize("name", ["x" * 49, "a.b"])
def test_a_name_that_some_client_refuses(name: str) -> None:
    (note,) = notes(name)
    assert note == (
        "some clients refuse this name, and all tools of the server with it: use letters, digits, _ and -, at most 48"
    )


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "a/b", "a\n"])
def test_the_first_argument_that_some_client_refuses(name: str) -> None:
    (note,) = notes(arguments=("good", name, "also bad"))
    assert note == f"some clients refuse the argument {name!r}: use letters, digits, _ . and -, at most 64"


def test_a_description_that_some_client_cuts() -> None:
    (note,) = notes(description="x" * (DESCRIPTION_LIMIT + 1))
    assert note == "some clients cut the description after 2048 characters: say the essence first"


def test_a_tool_without_arguments_has_no_note() -> None:
    binding = LocalBinding(function="f")
    assert list(notes_on(Tool(name="ant", input_schema={"type": "object"}, binding=binding))) == []


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        (0, None),
        (40, None),
        (41, "older versions of Cursor show no more than 40"),
        (80, "older versions of Cursor show no more than 40"),
        (81, "Cursor warns above 80"),
        (128, "Cursor warns above 80"),
        (129, "VS Code and OpenAI take no more than 128"),
        (10_000, "VS Code and OpenAI take no more than 128"),
    ],
)
def test_too_many_tools_are_so_for_the_most_generous_client_that_is_overrun(count: int, reason: str | None) -> None:
    remedy = "show clients a part of them, with /mcp?tags=... or /mcp?toolset=..."
    assert note_on_count(count) == (None if reason is None else f"sees {count} tools; {reason}: {remedy}")
