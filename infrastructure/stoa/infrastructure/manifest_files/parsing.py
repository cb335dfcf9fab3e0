"""What every reader of manifests holds text to: its size, what aliases may make of it, and how a problem is told."""

from typing import Any

import yaml

from stoa.domain.json_value import is_array, is_object

SIZE_LIMIT = 8 * 1024 * 1024
_VALUES_LIMIT = 500_000
_DEPTH_LIMIT = 200

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_all(text: bytes, loader: Any = Loader) -> list[Any]:
    """The documents of a YAML text that hold anything; `loader` is a safe one. Raises yaml.YAMLError or ValueError."""
    _check_depth(text)
    contents = [content for content in yaml.load_all(text, loader) if content is not None]
    _check_size(contents)
    return contents


def _check_depth(text: bytes) -> None:
    """libyaml builds nested values recursively, on the C stack: enough of them would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH_LIMIT:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(problem=f"nested deeper than {_DEPTH_LIMIT} levels", problem_mark=mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_size(value: Any) -> None:
    """Aliases make a few lines of YAML into billions of values for whoever walks them; those are counted here."""
    pending, count = [value], 0
    while pending:
        current = pending.pop()
        children: list[Any] = list(current.values()) if is_object(current) else current if is_array(current) else []
        count += 1 + len(children)
        if count > _VALUES_LIMIT:
            raise ValueError(f"more than {_VALUES_LIMIT} values once its aliases are followed")
        pending += children


_HINTS = {
    "did not find expected key": "; check the indentation of this line and the one before",
    "found character that cannot start any token": "; indent with spaces, not tabs, and quote what begins with @ or `",
    "mapping values are not allowed in this context": "; check the indentation, and quote text that contains a colon",
}
"""What people did, where the YAML parser says what it looked for."""


def reason(caught: Exception) -> str:
    mark = getattr(caught, "problem_mark", None)
    problem = getattr(caught, "problem", None) or str(caught)
    problem += _HINTS.get(problem, "")
    return f"line {mark.line + 1}: {problem}" if mark is not None else f"not readable: {problem}"
