"""Collects findings of one conversion. A problem of a shared component is reported once, however many operations use
it."""

import re
from collections.abc import Sequence

from stoa.domain.finding import Finding, Severity
from stoa.domain.schema.json_pointer import pointer_to, tokens_of, tokens_of_fragment
from stoa.infrastructure.documents import LineIndex

_OPERATION = re.compile(r"([A-Z]+) (/[^ ]*)(?: (?:(path|query|header|cookie) parameter|body|result|form field)\b.*)?")


class Report:
    """`text`: the description, in which the lines of findings are looked up."""

    def __init__(self, location: str, text: str = "") -> None:
        self._location = location
        self._text = text
        self._findings: dict[tuple[Severity, str, str, str], int | None] = {}

    def error(self, place: str, message: str, pointer: Sequence[str] | None = None, *, line: int | None = None) -> None:
        """Reports a part that was left out. `place`: words for people, as `GET /pets`; `pointer`: the tokens of the
        JSON Pointer, where the place does not give them; `line`: its line, where it is known."""
        self._add(Severity.ERROR, place, message, pointer, line)

    def warning(
        self, place: str, message: str, pointer: Sequence[str] | None = None, *, line: int | None = None
    ) -> None:
        """Reports a part that is in, and not as the description says it."""
        self._add(Severity.WARNING, place, message, pointer, line)

    def _add(
        self, severity: Severity, place: str, message: str, tokens: Sequence[str] | None, line: int | None
    ) -> None:
        where = f"{self._location} {place}" if place else self._location
        pointer = pointer_to(_tokens_of(place) if tokens is None else tokens)
        self._findings.setdefault((severity, where, message, pointer), line)

    @property
    def findings(self) -> tuple[Finding, ...]:
        lines = LineIndex(self._text)
        return tuple(
            Finding(
                severity=severity,
                where=where,
                message=message,
                pointer=pointer,
                line=line or (lines.line_of(tokens_of(pointer)) if pointer and self._text else None),
            )
            for (severity, where, message, pointer), line in self._findings.items()
        )


def _tokens_of(place: str) -> Sequence[str]:
    """The tokens of a place that was named in words: a path, an operation, or a component."""
    if place.startswith("#/"):
        return tokens_of_fragment(place.removeprefix("#"))
    if place.startswith("/"):
        return ("paths", place)
    match = _OPERATION.fullmatch(place)
    return () if match is None else ("paths", match[2], match[1].lower())
