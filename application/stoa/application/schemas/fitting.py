"""Takes out of an answer what its schema does not allow, and keeps everything else.

The schema is a published one (`output_schema.py`): nothing in it is required and null may stand everywhere below the
root, so that a member can be left out and an entry can become null.
"""

from typing import Any

from stoa.application.schemas.coercion import MAX_LEVELS, ObjectPlan, Path, PlacePlan, chosen_plan, note
from stoa.domain.schema.json_value import JsonObject, is_array, is_object

_GONE: Any = object()


def fitted(plan: ObjectPlan, value: JsonObject) -> tuple[JsonObject, tuple[str, ...]]:
    """What is left, and the places that are not: JSON Pointers (RFC 6901) in which `*` stands for entries and for
    members without a name in the schema. Work: linear in `value`."""
    left = _Fitting()
    return left.object(plan, value, None, 0), tuple(left.omitted)


class _Fitting:
    __slots__ = ("omitted",)

    def __init__(self) -> None:
        self.omitted: dict[str, None] = {}

    def object(self, plan: ObjectPlan, value: JsonObject, path: Path, level: int) -> JsonObject:
        plan = chosen_plan(plan, value)
        made: JsonObject = {}
        for name, one in value.items():
            known = plan.members.get(name)
            place = plan.others if known is None else known
            new = one
            if place is not None and type(one) not in place.fitting:
                new = self._value(place, one, (path, "*" if known is None else name), level + 1)
            if new is not _GONE:
                made[name] = new
        return made

    def _value(self, place: PlacePlan, value: Any, path: Path, level: int) -> Any:
        if level > MAX_LEVELS:
            return value
        is_whole = isinstance(value, float) and value.is_integer() and place.types is not None
        if not place.allows(int(value) if is_whole else value):
            note(self.omitted, path)
            return _GONE
        if place.object is not None and is_object(value):
            return self.object(place.object, value, path, level)
        if place.array is not None and is_array(value):
            entries: list[Any] = []
            for position, one in enumerate(value):
                entry = place.array.first[position] if position < len(place.array.first) else place.array.rest
                if entry is not None and type(one) not in entry.fitting:
                    new = self._value(entry, one, (path, "*"), level + 1)
                    entries.append(None if new is _GONE else new)
                else:
                    entries.append(one)
            return entries
        return value
