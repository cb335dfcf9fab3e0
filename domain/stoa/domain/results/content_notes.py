"""Hints of a back end about a block of content (MCP "Annotations", and `_meta`)."""

from dataclasses import dataclass
from typing import Literal

from stoa.domain.schema.json_value import JsonObject

Audience = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class ContentNotes:
    """Hints for the client; nothing in the gateway depends on them."""

    audience: tuple[Audience, ...] = ()
    priority: float | None = None
    """From 0, optional, to 1, required."""
    last_modified: str | None = None
    """An ISO 8601 date."""
    meta: JsonObject | None = None
    """Members of `_meta`."""
