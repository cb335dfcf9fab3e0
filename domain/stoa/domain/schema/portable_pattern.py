"""Patterns that mean the same to every client.

`\\d` and `\\w` are ASCII in JSON Schema (ECMA 262), and more in the `re` of Python, by which some clients check
arguments or make them: digits of other scripts, which the API refuses.
"""

import re
from typing import Any

_PIECE = re.compile(r"\\.|.", re.DOTALL)
_CLASSES = {r"\d": "0-9", r"\w": "0-9A-Za-z_"}


def in_ascii(pattern: Any) -> Any:
    """`pattern` with `\\d` and `\\w` written out; a value that is no pattern stays as it is."""
    if not isinstance(pattern, str) or ("\\d" not in pattern and "\\w" not in pattern):
        return pattern
    is_in_class = False
    written: list[str] = []
    for piece in _PIECE.findall(pattern):
        is_in_class = piece == "[" or (is_in_class and piece != "]")
        members = _CLASSES.get(piece)
        written.append(piece if members is None else members if is_in_class else f"[{members}]")
    return "".join(written)
