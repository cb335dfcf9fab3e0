"""URI templates of RFC 6570 level 1 (`{name}`), and matching URIs against them."""

import re
from urllib.parse import quote, unquote

from stoa.domain.operations.dot_segments import holds_control_character, holds_dot_segment

_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BROKEN_TRIPLE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NEVER_IN_A_VALUE = re.compile(r"[/?#{}]")


class UriTemplate:
    """Text between variables, and the variables. Matching takes time linear in the URI's length."""

    __slots__ = ("_literals", "names")

    def __init__(self, text: str) -> None:
        """Raises ValueError for text that is not a level 1 template, or that would match in several ways."""
        pieces = _EXPRESSION.split(text)
        self._literals: list[str] = pieces[0::2]
        self.names: tuple[str, ...] = tuple(pieces[1::2])
        if any("{" in literal or "}" in literal for literal in self._literals):
            raise ValueError("a brace is not closed, or not opened")
        if any(not _NAME.fullmatch(name) for name in self.names):
            raise ValueError("write variables as {name}: letters, digits and _; operators are not supported")
        if len(set(self.names)) < len(self.names):
            raise ValueError("a variable stands there twice")
        if "" in self._literals[1:-1]:
            raise ValueError("text must stand between two variables")

    def match(self, uri: str) -> dict[str, str] | None:
        """The decoded variables; None if `uri` does not match. A value is never empty, ends before `/`, `?` and `#`,
        and is refused if it decodes to dot segments or control characters, because it may become part of a path."""
        if not uri.startswith(self._literals[0]):
            return None
        values: dict[str, str] = {}
        start = len(self._literals[0])
        for number, (name, literal) in enumerate(zip(self.names, self._literals[1:], strict=True), 1):
            is_last = number == len(self.names)
            end = _last_end(uri, literal) if is_last else uri.find(literal, start + 1)
            value = _decoded(uri[start:end]) if end > start else None
            if value is None:
                return None
            values[name] = value
            start = end + len(literal)
        return values if start == len(uri) else None

    def expand(self, values: dict[str, str]) -> str:
        """The URI with these values (RFC 6570 section 3.2.2); every variable needs one."""
        rest = zip(self.names, self._literals[1:], strict=True)
        return self._literals[0] + "".join(quote(values[name], safe="") + literal for name, literal in rest)


def _last_end(uri: str, literal: str) -> int:
    return len(uri) - len(literal) if uri.endswith(literal) else -1


def _decoded(text: str) -> str | None:
    if _NEVER_IN_A_VALUE.search(text) or _BROKEN_TRIPLE.search(text):
        return None
    try:
        value = unquote(text, errors="strict")
        value.encode("utf-8")
    except UnicodeError:
        return None
    return None if holds_dot_segment(value) or holds_control_character(value) else value
