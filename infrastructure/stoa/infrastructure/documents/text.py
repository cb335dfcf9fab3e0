"""Reads JSON or YAML text into values.

JSON in a YAML file is read as JSON, which takes a hundredth of the time. Both readers stop at 200 levels; how many
values a text may hold is bounded by its size in JSON and counted in YAML, where aliases multiply them.
"""

import re
from typing import Any

import pydantic_core

from stoa.infrastructure.documents.problem import DocumentProblem
from stoa.infrastructure.documents.repeated_keys import RepeatedKey, read_noting_repeated, repeated_keys
from stoa.infrastructure.documents.written_numbers import may_be_written_otherwise, written_float
from stoa.infrastructure.documents.yaml_text import parse_yaml, parse_yaml_all

_FLOW_YAML_LIMIT = 256 * 1024
"""Upper bound, in characters, on text that opens with a brace, is not JSON and is tried as YAML: large texts must not
cost twice."""
_POSITION = re.compile(r"^(?P<reason>.*) at line (?P<line>\d+) column (?P<column>\d+)$", re.DOTALL)


def read_value(text: str, repeated: list[RepeatedKey] | None = None, *, has_written_numbers: bool = False) -> Any:
    """Returns the value of the only document in a JSON or YAML text. `repeated`: gets the keys that occur twice in one
    object, of which the last counts. `has_written_numbers`: numbers remember how they were written (`written_numbers`).
    Raises DocumentProblem."""
    text = text.removeprefix("\ufeff")
    if not _looks_like_json(text):
        return parse_yaml(text, repeated, has_written_numbers=has_written_numbers)
    try:
        value = read_json(text)
        if not has_written_numbers or not may_be_written_otherwise(text):
            if repeated is not None:
                repeated += repeated_keys(text)
            return value
        return read_noting_repeated(text, [] if repeated is None else repeated, parse_float=written_float)
    except DocumentProblem:
        if len(text) <= _FLOW_YAML_LIMIT:
            try:
                return parse_yaml(text, repeated, has_written_numbers=has_written_numbers)
            except DocumentProblem:
                pass  # the JSON parser's complaint is the one that helps
        raise


def read_values(text: str) -> list[Any]:
    """The values of all documents in a JSON or YAML text, without empty ones. Raises DocumentProblem."""
    text = text.removeprefix("\ufeff")
    if _looks_like_json(text):
        try:
            return [read_json(text)]
        except DocumentProblem:
            if len(text) > _FLOW_YAML_LIMIT:
                raise
    return [value for value in parse_yaml_all(text) if value is not None]


def read_json(text: str) -> Any:
    """The value of a JSON text (RFC 8259). Raises DocumentProblem."""
    try:
        return pydantic_core.from_json(text.encode("utf-8", "surrogatepass"), allow_inf_nan=False)
    except ValueError as failure:
        position = _POSITION.match(str(failure))
        if position is None:
            raise DocumentProblem("not readable", 1, language="JSON") from failure
        line, column = int(position["line"]), int(position["column"])
        raise DocumentProblem(position["reason"], line, column=column, language="JSON") from failure


def _looks_like_json(text: str) -> bool:
    return text[:4096].lstrip()[:1] in {"{", "["}
