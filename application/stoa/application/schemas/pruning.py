"""Pruning: removes the parts of an answer that its schema does not allow, and keeps the rest. A number in quotes, or a
text without them, is no such part: it becomes what the schema says.

The schema is a published one (`output_schema.relaxed`): nothing in it is required and null is allowed everywhere below
the root, so that a member can be left out and an entry can become null.
"""

from typing import Any

from stoa.application.schemas.coercion import MAX_LEVELS, ObjectPlan, Path, PlacePlan, chosen_plan, note, understood
from stoa.domain.schema.json_value import JsonObject, is_array, is_object

_OMITTED: Any = object()
MAX_LOOKS = 10_000
"""Objects, lists and values of a wrong type that are looked at; from there on such values are left out, and a list ends
before the first of them. An answer is pruned in one turn of the event loop, and only one that is made to take long has
so many within the length of an answer."""


def pruned(plan: ObjectPlan, value: JsonObject) -> tuple[JsonObject, tuple[str, ...]]:
    """The part of `value` that fits, and the places that were left out.

    The places are JSON Pointers (RFC 6901) in which `*` stands for entries and for members without a name in the
    schema. Work: linear in `value`, and bounded by MAX_LOOKS but for values of a right type.
    """
    pruning = _Pruning()
    return pruning.object(plan, value, None, 0), tuple(pruning.omitted)


class _Pruning:
    __slots__ = ("left", "noted", "omitted")

    def __init__(self) -> None:
        self.left = MAX_LOOKS
        self.noted: Path = None
        self.omitted: dict[str, None] = {}

    def object(self, plan: ObjectPlan, value: JsonObject, path: Path, level: int) -> JsonObject:
        plan = chosen_plan(plan, value)
        result: JsonObject = {}
        for name, member in value.items():
            named = plan.members.get(name)
            place = plan.others if named is None else named
            pruned_member = member
            if place is not None and type(member) not in place.accepted:
                pruned_member = self._value(place, member, (path, "*" if named is None else name), level + 1)
            if pruned_member is not _OMITTED:
                result[name] = pruned_member
        return result

    def _value(self, place: PlacePlan, value: Any, path: Path, level: int) -> Any:
        self.left -= 1
        if self.left < 0:
            note(self.omitted, path)
            return _OMITTED
        if level > MAX_LEVELS:
            return value
        # Validation takes 1.0 for an integer (2020-12 validation section 6.1.1), so it is allowed as one.
        is_whole = isinstance(value, float) and value.is_integer() and place.types is not None
        if not place.allows(int(value) if is_whole else value):
            repaired = understood(value, place)
            if repaired is value or not place.allows(repaired):
                if path is not self.noted:  # that of the entries of one list is noted once
                    note(self.omitted, path)
                    self.noted = path
                return _OMITTED
            value = repaired  # says the same
        if place.object is not None and is_object(value):
            return self.object(place.object, value, path, level)
        if place.array is not None and is_array(value):
            entries: list[Any] = []
            inner = (path, "*")
            for position, entry in enumerate(value):
                at = place.array.first[position] if position < len(place.array.first) else place.array.rest
                pruned_entry = entry
                if at is not None and type(entry) not in at.accepted:
                    if self.left <= 0:
                        note(self.omitted, inner)
                        break
                    pruned_entry = self._value(at, entry, inner, level + 1)
                entries.append(
                    None if pruned_entry is _OMITTED else pruned_entry
                )  # positions of the others must not move
            return entries
        return value
