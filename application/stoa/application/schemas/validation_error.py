"""Pydantic's validation errors in words for the author of the data."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pydantic import ValidationError

NO_WORDS: Mapping[str, str] = MappingProxyType({})


def describe_validation_error(
    caught: ValidationError,
    hint: Callable[[str], str] = lambda _: "",
    within: tuple[str, ...] = (),
    *,
    words: Mapping[str, str] = NO_WORDS,
) -> str:
    """One line for up to five fields, in the data's own names and without the offending values. `hint` adds words to an
    unknown field, given its name. `within`: where the data stands in a larger document. `words`: what to write instead
    of what a pattern does not match, by the pattern."""
    parts: list[str] = []
    for problem in caught.errors(include_url=False, include_input=False)[:5]:
        field = ".".join(str(part) for part in (*within, *problem["loc"])) or "(document)"
        if problem["type"] == "extra_forbidden":
            parts.append(f"{field}: no such field{hint(str(problem['loc'][-1]))}")
        elif (remedy := words.get(str(problem.get("ctx", {}).get("pattern")))) is not None:
            parts.append(f"{field}: {remedy}")
        else:
            parts.append(f"{field}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts)
