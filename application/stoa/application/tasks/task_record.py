"""A task as bytes, the one form that every store writes. It has a version, so that a later release recognises older
records."""

from typing import Any

import pydantic_core
from pydantic import TypeAdapter, ValidationError

from stoa.domain.calls.task import Task
from stoa.domain.errors import InvalidInput, TasksUnavailable

_FORM = 1
_TASKS: TypeAdapter[Task] = TypeAdapter(Task)


def dump(task: Task) -> bytes:
    """The task as JSON. Raises InvalidInput for values that JSON cannot carry."""
    try:
        return b'{"form":%d,"task":%b}' % (_FORM, _TASKS.dump_json(task, by_alias=True))
    except ValueError as caught:
        raise InvalidInput(
            "The arguments or the result cannot be kept: they are no JSON, or nested too deep"
        ) from caught


def load(record: bytes) -> Task:
    """Inverse of `dump`. Raises TasksUnavailable for other bytes."""
    try:
        value: Any = pydantic_core.from_json(record)
        if value["form"] != _FORM:
            raise TasksUnavailable("A task was kept by another release of the gateway and cannot be read")
        return _TASKS.validate_python(value["task"], strict=False)
    except (KeyError, TypeError, ValidationError, ValueError) as caught:
        raise TasksUnavailable("A task that was kept cannot be read") from caught
