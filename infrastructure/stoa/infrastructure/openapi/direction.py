"""Which members go one way only: `readOnly` ones never go in, `writeOnly` ones never come out."""

from contextlib import suppress
from enum import Enum
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_object, is_object
from stoa.infrastructure.openapi.references import References, Unresolvable
from stoa.infrastructure.openapi.values import list_or_empty

_STEP_LIMIT = 10


class Direction(Enum):
    """Arguments go in, results come out; the value is the keyword of members that only go the other way."""

    INPUT = "readOnly"
    OUTPUT = "writeOnly"


class DirectionFilter:
    """Works on schemas as they stand in the document."""

    def __init__(self, references: References, direction: Direction) -> None:
        self._references = references
        self._keyword = direction.value
        self._hidden: dict[str, frozenset[str]] = {}

    def is_hidden(self, raw: Any) -> bool:
        """Does this member only go the other way, by itself or by its component? `false` allows no value."""
        for _ in range(_STEP_LIMIT):
            if not is_object(raw):
                return raw is False
            if raw.get(self._keyword) is True:
                return True
            parts = list_or_empty(raw.get("allOf"))
            reference = raw.get("$ref") if "$ref" in raw else as_object(parts[0]).get("$ref") if parts else None
            if not isinstance(reference, str):
                return False
            try:
                raw = self._references.target(reference)
            except Unresolvable:
                return False
        return False

    def hidden_members(self, raw: JsonObject) -> frozenset[str]:
        """Names under `properties` that are left out."""
        members = as_object(raw.get("properties"))
        return frozenset(name for name, schema in members.items() if self.is_hidden(schema))

    def hidden_anywhere(self, raw: Any, depth: int = 0) -> frozenset[str]:
        """Names that this schema, its allOf branches and what they refer to leave out."""
        if not is_object(raw) or depth > _STEP_LIMIT:
            return frozenset()
        reference = raw.get("$ref")
        if isinstance(reference, str):
            if reference not in self._hidden:
                self._hidden[reference] = frozenset()  # a circle adds nothing
                with suppress(Unresolvable):
                    self._hidden[reference] = self.hidden_anywhere(self._references.target(reference), depth + 1)
            return self._hidden[reference]
        names = set(self.hidden_members(raw))
        for part in list_or_empty(raw.get("allOf")):
            names |= self.hidden_anywhere(part, depth + 1)
        return frozenset(names)
