"""Finds schemas that refuse other members, where they are joined with schemas that have some."""

from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_array, is_object
from stoa.infrastructure.openapi.references import References, Unresolvable

_CLOSING = ("additionalProperties", "unevaluatedProperties")
_STEP_LIMIT = 10


class ClosedSchemas:
    def __init__(self, references: References) -> None:
        self._references = references
        self._by_reference: dict[str, bool] = {}

    def has_closed_parts(self, raw: JsonObject) -> bool:
        """True if a schema has several parts (its own members, its `allOf`, its alternatives), and one of them refuses
        the members of the others."""
        parts, alternatives = as_array(raw.get("allOf")), _alternatives(raw)
        if len(parts) + ("properties" in raw) + bool(alternatives) < 2:
            return False
        return self._is_closed_itself(raw) or any(self.is_closed(part, 0) for part in (*parts, *alternatives))

    def is_closed(self, raw: Any, depth: int) -> bool:
        """True if the schema, a part of it or what it refers to says that there are no other members."""
        if not is_object(raw) or depth > _STEP_LIMIT:
            return False
        parts = (*as_array(raw.get("allOf")), *_alternatives(raw))
        if self._is_closed_itself(raw) or any(self.is_closed(part, depth + 1) for part in parts):
            return True
        reference = raw.get("$ref")
        if not isinstance(reference, str):
            return False
        if reference not in self._by_reference:
            self._by_reference[reference] = False  # a circle closes nothing
            try:
                target = self._references.target(reference)
            except Unresolvable:
                return False
            self._by_reference[reference] = self.is_closed(target, depth + 1)
        return self._by_reference[reference]

    @staticmethod
    def _is_closed_itself(raw: JsonObject) -> bool:
        return any(raw.get(keyword) is False for keyword in _CLOSING)


def _alternatives(raw: JsonObject) -> list[Any]:
    return [*as_array(raw.get("oneOf")), *as_array(raw.get("anyOf"))]
