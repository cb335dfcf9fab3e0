"""Limits of clients: properties of hand-written tools that some client refuses or cuts. Generated tools comply by
construction.

docs/client-compatibility.md names the clients.
"""

import re
from collections.abc import Iterator

from stoa.domain.operations.naming import NAME_LIMIT
from stoa.domain.operations.tool import Tool

DESCRIPTION_LIMIT = 2048
_NAME = re.compile(rf"^[A-Za-z0-9_-]{{1,{NAME_LIMIT}}}\Z")
_ARGUMENT = re.compile(r"^[A-Za-z0-9_.-]{1,64}\Z")
_COUNTS = (
    (128, "VS Code and OpenAI take no more than 128"),
    (80, "Cursor warns above 80"),
    (40, "older versions of Cursor show no more than 40"),
)


def notes_on(tool: Tool) -> Iterator[str]:
    """Yields a sentence, with the remedy, for each property of the tool that some client does not accept."""
    if not _NAME.match(tool.name):
        yield (
            f"some clients refuse this name, and all tools of the server with it: use letters, digits, _ and -, at "
            f"most {NAME_LIMIT}"
        )
    foreign = [name for name in tool.portable_input_schema.get("properties", {}) if not _ARGUMENT.match(name)]
    if foreign:
        yield f"some clients refuse the argument {foreign[0]!r}: use letters, digits, _ . and -, at most 64"
    if len(tool.description) > DESCRIPTION_LIMIT:
        yield f"some clients cut the description after {DESCRIPTION_LIMIT} characters: say the essence first"


def note_on_count(count: int) -> str | None:
    """A warning for a list of so many tools; None for a list that every client takes."""
    reason = next((reason for limit, reason in _COUNTS if count > limit), None)
    if reason is None:
        return None
    return f"sees {count} tools; {reason}: show clients a part of them, with /mcp?tags=... or /mcp?toolset=..."
