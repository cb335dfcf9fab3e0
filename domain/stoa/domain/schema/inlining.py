"""Writes the references of a JSON Schema out in place, for readers that resolve none.

Recursion and repetition can make that grow without end, so it is done as deep as SIZE_LIMIT allows; a part that is cut
off becomes a schema that accepts anything and describes in words what it stands for.
"""

from typing import Any

from stoa.domain.schema.json_pointer import resolve, tokens_of_fragment
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.schema.subschemas import DATA, DEFINITIONS, MAPS, with_subschemas

SIZE_LIMIT = 24 * 1024
"""Approximate upper bound on the characters that a schema may grow to when references are written out. Models read
every one of them."""

_NESTING = (8, 5, 4, 3, 2, 1)
"""Levels of nested references that are written out: the deepest that fits SIZE_LIMIT, else none."""
_REPEATS = 2
"""Upper bound on the times that a schema is written out within itself."""
_NOTES = frozenset({"title", "description", "default", "examples"})


class _TooLarge(Exception):
    """The schema exceeds SIZE_LIMIT at this depth; the next smaller one is tried."""


def inlined(schema: JsonObject) -> JsonObject:
    """`schema` without `$ref` and definitions. A reference out of the schema, and a part that is cut off, accepts
    anything."""
    if not _refers(schema):
        return schema
    for nesting in _NESTING:
        try:
            return _Inliner(schema, nesting, SIZE_LIMIT).inlined()
        except _TooLarge:
            continue
    return _Inliner(schema, 0, None).inlined()


def _refers(value: Any) -> bool:
    if is_object(value):
        return "$ref" in value or not DEFINITIONS.isdisjoint(value) or any(map(_refers, value.values()))
    return is_array(value) and any(map(_refers, value))


class _Inliner:
    def __init__(self, root: JsonObject, nesting: int, size_limit: int | None) -> None:
        self._root = root
        self._nesting = nesting
        self._left = size_limit

    def inlined(self) -> JsonObject:
        return as_object(self._schema(self._root, ()))

    def _schema(self, schema: Any, trail: tuple[str, ...]) -> Any:
        """The schema with its references written out. `trail`: the references that led here, counted to end
        recursion."""
        if not is_object(schema):
            return schema
        siblings: JsonObject = {
            keyword: self._member(keyword, value, trail)
            for keyword, value in schema.items()
            if keyword != "$ref" and keyword not in DEFINITIONS
        }
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return siblings
        target = self._target(reference)
        if target is None or len(trail) >= self._nesting or trail.count(reference) >= _REPEATS:
            return {**_placeholder(reference, target), **siblings}
        return _joined(self._schema(target, (*trail, reference)), siblings)

    def _member(self, keyword: str, value: Any, trail: tuple[str, ...]) -> Any:
        self._spend(len(keyword) + _own_size(value))
        if keyword in MAPS and is_object(value):
            self._spend(sum(len(name) + 8 for name in value))
        return value if keyword in DATA else with_subschemas(keyword, value, lambda part: self._schema(part, trail))

    def _spend(self, characters: int) -> None:
        if self._left is not None:
            self._left -= characters
            if self._left < 0:
                raise _TooLarge

    def _target(self, reference: str) -> JsonObject | None:
        """The object that a JSON Pointer into this schema leads to; None for every other reference."""
        if reference != "#" and not reference.startswith("#/"):
            return None
        target = resolve(self._root, tokens_of_fragment(reference[1:]))
        return target if is_object(target) else None


def _own_size(value: Any) -> int:
    """Approximate characters of a keyword's value, without the schemas in it."""
    if isinstance(value, str):
        return len(value)
    return 12 * len(value) if is_array(value) else 8


def _placeholder(reference: str, target: JsonObject | None) -> JsonObject:
    """The schema that replaces a reference that is not followed: accepts anything and describes the target."""
    described = target or {}
    name = reference.rpartition("/")[2].lstrip("#") or "the whole again"
    note = f"{described.get('description') or ''} ({name}, not described further here)".strip()
    kind = described.get("type")
    return {"type": kind, "description": note} if isinstance(kind, str) else {"description": note}


def _joined(target: JsonObject, siblings: JsonObject) -> JsonObject:
    """The target of a `$ref` merged with the keywords next to it; notes there win over the target's own."""
    if siblings.keys() <= _NOTES or siblings.keys().isdisjoint(target):
        return {**target, **siblings}
    notes = {keyword: value for keyword, value in siblings.items() if keyword in _NOTES}
    constraints = {keyword: value for keyword, value in siblings.items() if keyword not in _NOTES}
    return {"allOf": [target, constraints], **notes}
