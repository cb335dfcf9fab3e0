"""Members that go one way only: `readOnly` ones are never sent, `writeOnly` ones are never answered."""

from contextlib import suppress
from enum import Enum
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_array, as_object, is_object
from stoa.infrastructure.openapi.references import References, Unresolvable

_STEP_LIMIT = 10


class Direction(Enum):
    """Arguments go in, results come out. The value is the keyword of members that only go the other way."""

    INPUT = "readOnly"
    OUTPUT = "writeOnly"


class ExcludedMembers:
    """Finds the members that one direction does not carry, in schemas as the document writes them."""

    def __init__(self, references: References, direction: Direction) -> None:
        self._references = references
        self._keyword = direction.value
        self._names_by_reference: dict[str, frozenset[str]] = {}
        self._excluded_references: dict[str, bool] = {}

    def excludes(self, raw: Any, depth: int = 0) -> bool:
        """True if this member only goes the other way, by its own schema, its component's or that of an allOf branch
        (JSON Schema 2020-12, validation section 9.4: one of several is enough). A schema `false` counts too, as it
        allows no value."""
        if not is_object(raw) or depth > _STEP_LIMIT:
            return raw is False
        if raw.get(self._keyword) is True:
            return True
        reference = raw.get("$ref")
        if isinstance(reference, str) and self._excludes_component(reference, depth):
            return True
        return any(self.excludes(part, depth + 1) for part in as_array(raw.get("allOf")))

    def _excludes_component(self, reference: str, depth: int) -> bool:
        if reference not in self._excluded_references:
            self._excluded_references[reference] = False  # a circle adds nothing
            with suppress(Unresolvable):
                target = self._references.target(reference)
                self._excluded_references[reference] = self.excludes(target, depth + 1)
        return self._excluded_references[reference]

    def members_of(self, raw: JsonObject) -> frozenset[str]:
        """Names under `properties` that are left out."""
        members = as_object(raw.get("properties"))
        return frozenset(name for name, schema in members.items() if self.excludes(schema))

    def anywhere_in(self, raw: Any, depth: int = 0) -> frozenset[str]:
        """Names excluded by this schema, its allOf branches and the schemas that they refer to."""
        if not is_object(raw) or depth > _STEP_LIMIT:
            return frozenset()
        reference = raw.get("$ref")
        if isinstance(reference, str):
            if reference not in self._names_by_reference:
                self._names_by_reference[reference] = frozenset()  # a circle adds nothing
                with suppress(Unresolvable):
                    self._names_by_reference[reference] = self.anywhere_in(
                        self._references.target(reference), depth + 1
                    )
            return self._names_by_reference[reference]
        names = set(self.members_of(raw))
        for part in as_array(raw.get("allOf")):
            names |= self.anywhere_in(part, depth + 1)
        return frozenset(names)
