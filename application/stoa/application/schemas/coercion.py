"""Coercion of arguments to the types of their schema, where only one meaning is possible.

A plan names for each place of the arguments the types that its schema allows (`coercion_plan`). Only a value of another
type is coerced: JSON text of an allowed type becomes that value, a single value where an array is expected becomes an
array of it, null for an optional member is left out. Whole floats become integers where no fraction is allowed. A value
that fits stays, and so does one that could mean two things: the check refuses it then.
"""

import math
from typing import Any

import pydantic_core

from stoa.domain.schema.json_pointer import pointer_to
from stoa.domain.schema.json_value import JsonObject, is_array, is_object

MAX_LEVELS = 200
"""Upper bound on the levels of arguments that are coerced: JSON parsers go no deeper."""
MAX_NOTES = 32
_MAX_PARTS = 1000
"""Upper bound on the entries that a text is divided into."""

JsonType = str
"""A type name of JSON Schema. A set with "number" has "integer" as well."""
Path = tuple["Path", str] | None
"""The way to a place, from its end; `*` for entries and for members that the schema does not name."""

Tags = frozenset[tuple[JsonType, Any]]
"""Scalars with their types, because true is not 1."""

_TYPES: dict[type, JsonType] = {
    str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array", type(None): "null",
}  # fmt: skip
_WORDS: dict[str, Any] = {
    "True": True, "TRUE": True, "False": False, "FALSE": False, "None": None,
}  # fmt: skip
"""Spellings with one possible meaning that are not JSON: Python's, and those in capitals."""
_NUMBERS = frozenset({"integer", "number"})
_TEXT = frozenset({"string", "null"})
_TYPES_BY_FIRST = {
    "{": frozenset({"object"}),
    "[": frozenset({"array"}),
    "t": frozenset({"boolean"}),
    "f": frozenset({"boolean"}),
    "n": frozenset({"null"}),
}
"""Types of a JSON text by its first character; with any other it is a number, or it is not coerced."""
_EXACT = 2**53
"""Whole numbers below it are exact in a float (RFC 8259 section 6)."""
_ANYTHING = frozenset(_TYPES.values())


class ObjectPlan:
    """The places of an object's members."""

    __slots__ = ("alternatives", "members", "optional", "others")

    def __init__(self) -> None:
        self.members: dict[str, PlacePlan] = {}
        self.others: PlacePlan | None = None
        """The plan of members that the schema does not name."""
        self.optional: frozenset[str] = frozenset()
        """Members that may be left out and cannot be null."""
        self.alternatives: list[Alternative] = []
        """The alternatives of the object, told apart by the fixed values of their members."""

    def settled(self) -> bool:
        """Removes parts without effect; False if no part is left that could coerce."""
        self.members = {name: place for name, place in self.members.items() if not place.says_nothing}
        if self.others is not None and self.others.says_nothing:
            self.others = None
        return bool(self.members or self.others or self.alternatives)


class Alternative:
    __slots__ = ("place", "required", "tags")

    def __init__(self, tags: dict[str, Tags], required: frozenset[str], place: "PlacePlan") -> None:
        self.tags = tags
        """The fixed values of members."""
        self.required = required
        self.place = place


class PlacePlan:
    """The values that may stand at one place of the arguments."""

    __slots__ = ("accepted", "array", "object", "takes_numbers", "texts", "types")

    def __init__(
        self, types: frozenset[JsonType] | None, texts: frozenset[str] | None, *, takes_numbers: bool = False
    ) -> None:
        self.types = types
        """Allowed types; None: any."""
        self.texts = texts
        """Allowed strings; None: all, if strings are allowed."""
        self.takes_numbers = takes_numbers
        """True if numbers and truth values stand for their text where no other type is possible."""
        self.object: ObjectPlan | None = None
        self.array: ArrayPlan | None = None
        self.accepted: frozenset[type] = frozenset()
        """Python types of values that need no further look."""

    @property
    def says_nothing(self) -> bool:
        return self.types is None and self.object is None and self.array is None

    def settle(self) -> None:
        """Removes parts without effect, once the whole plan is known."""
        if self.object is not None and not self.object.settled():
            self.object = None
        if self.array is not None and not self.array.settled():
            self.array = None
        accepted = {kind for kind, name in _TYPES.items() if self.types is None or name in self.types}
        if self.texts is not None:
            accepted.discard(str)
        if self.object is not None:
            accepted.discard(dict)
        if self.array is not None:
            accepted.discard(list)
        self.accepted = frozenset(accepted)

    def allows(self, value: Any) -> bool:
        """True if the value has an allowed type and, for strings, an allowed text."""
        kind = json_type(value)
        if self.types is not None and kind not in self.types:
            return False
        return kind != "string" or self.texts is None or value in self.texts


class ArrayPlan:
    __slots__ = ("first", "rest", "takes_single")

    def __init__(self) -> None:
        self.first: list[PlacePlan | None] = []
        self.rest: PlacePlan | None = None
        self.takes_single = False
        """True if only an array is allowed here, and its entries have one plan."""

    def settled(self) -> bool:
        """Removes parts without effect; False if no part is left that could coerce."""
        if self.rest is not None and self.rest.says_nothing:
            self.rest = None
        return bool(self.rest or self.takes_single or any(self.first))


def json_type(value: object) -> JsonType | None:
    exact = _TYPES.get(type(value))
    if exact is not None:
        return exact
    return next((name for kind, name in _TYPES.items() if kind is not bool and isinstance(value, kind)), None)


def coerce(plan: ObjectPlan, arguments: JsonObject) -> tuple[JsonObject, tuple[str, ...]]:
    """The arguments, the same object if nothing had to change, and the places that were coerced: JSON Pointers (RFC
    6901) in which `*` stands for entries and for members that the schema does not name."""
    run = _Coercion()
    return run.object(plan, arguments, None, 0), tuple(run.notes)


class _Coercion:
    __slots__ = ("notes",)

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}

    def object(self, plan: ObjectPlan, value: JsonObject, path: Path, level: int) -> JsonObject:
        if plan.alternatives:
            plan = chosen_plan(plan, value)
        changed: JsonObject = {}
        dropped: list[str] = []
        for name, member in value.items():
            named = plan.members.get(name)
            place = plan.others if named is None else named
            if place is None or type(member) in place.accepted:
                continue
            here = (path, "*" if named is None else name)
            if member is None:
                if name in plan.optional:
                    dropped.append(name)
                    note(self.notes, here)
                continue
            coerced = self._value(place, member, here, level + 1, is_entry=False)
            if coerced is not member:
                changed[name] = coerced
        if not changed and not dropped:
            return value
        result = {**value, **changed}
        for name in dropped:
            del result[name]
        return result

    def _array(self, plan: ArrayPlan, value: list[Any], path: Path, level: int) -> list[Any]:
        result: list[Any] | None = None
        for position, entry in enumerate(value):
            place = plan.first[position] if position < len(plan.first) else plan.rest
            if place is None or type(entry) in place.accepted:
                continue
            coerced = self._value(place, entry, (path, "*"), level + 1, is_entry=True)
            if coerced is not entry:
                if result is None:
                    result = list(value)
                result[position] = coerced
        return value if result is None else result

    def _value(self, place: PlacePlan, value: Any, path: Path, level: int, *, is_entry: bool) -> Any:
        if level > MAX_LEVELS:
            return value
        if not place.allows(value):
            meant = understood(value, place)
            if meant is not value:
                if isinstance(value, str) or isinstance(meant, str):
                    note(self.notes, path)
                value = meant
        if place.object is not None and is_object(value):
            return self.object(place.object, value, path, level)
        if place.array is not None:
            if is_array(value):
                return self._array(place.array, value, path, level)
            # Entries are not wrapped: [1, 2] for an array of arrays could be [[1, 2]] as well as [[1], [2]].
            if place.array.takes_single and not is_entry:
                return self._single(place.array.rest, value, path, level)
        return value

    def _single(self, entry: PlacePlan | None, value: Any, path: Path, level: int) -> Any:
        """An array of `value` if it is an entry, or of its parts if it is a text of several; else `value`."""
        if isinstance(value, str) and value.lstrip()[:1] in {"", "["}:
            return value  # no entry at all, or an array that is damaged
        if (
            isinstance(value, str)
            and 0 < value.count(",") < _MAX_PARTS
            and entry is not None
            and not entry.allows(value)
        ):
            return self._divided(entry, value, path, level)
        before = dict(self.notes)  # restored when the attempt fails: a note must name a place that did change
        note(self.notes, path)
        coerced = value if entry is None else self._value(entry, value, (path, "*"), level + 1, is_entry=True)
        is_unclear = isinstance(coerced, str) and coerced.lstrip()[:1] == "{"
        if is_unclear or json_type(coerced) in {None, "null", "array"} or not (entry is None or entry.allows(coerced)):
            self.notes = before
            return value
        return [coerced]

    def _divided(self, entry: PlacePlan, text: str, path: Path, level: int) -> Any:
        """The parts of a text at its commas, if each is an entry; else the text. The text itself is none."""
        before = dict(self.notes)
        note(self.notes, path)
        parts = [part.strip() for part in text.split(",")]
        entries = [self._value(entry, part, (path, "*"), level + 1, is_entry=True) for part in parts]
        if all(parts) and all(entry.allows(each) for each in entries):
            return entries
        self.notes = before
        return text


def note(notes: dict[str, None], path: Path) -> None:
    """Add the pointer of a place, unless there are many."""
    if len(notes) >= MAX_NOTES:
        return
    tokens: list[str] = []
    while path is not None:
        path, token = path
        tokens.append(token)
    notes[pointer_to(reversed(tokens))] = None


def chosen_plan(plan: ObjectPlan, value: JsonObject) -> ObjectPlan:
    """The most specific plan for the members of `value`."""
    while plan.alternatives:
        chosen = _chosen(plan, value)
        if chosen is plan:
            break
        plan = chosen
    return plan


def _chosen(plan: ObjectPlan, value: JsonObject) -> ObjectPlan:
    """The plan of the only alternative that `value` may fit by its fixed values and required members; else the common
    plan of all."""
    chosen: ObjectPlan | None = None
    for alternative in plan.alternatives:
        is_possible = alternative.required <= value.keys()
        if is_possible and all(_is_tagged(plan, alternative, name, value) for name in alternative.tags):
            if chosen is not None or alternative.place.object is None:
                return plan
            chosen = alternative.place.object
    return plan if chosen is None else chosen


def _is_tagged(plan: ObjectPlan, alternative: Alternative, name: str, value: JsonObject) -> bool:
    if name not in value:
        return True
    tag = value[name]
    place = plan.members.get(name)
    if place is not None and not place.allows(tag):
        tag = understood(tag, place)
    kind = json_type(tag)
    if kind in {None, "object", "array"}:
        return False
    return ("number" if kind == "integer" else kind, tag) in alternative.tags[name]


def understood(value: Any, place: PlacePlan) -> Any:
    """The value of one of the place's types that `value` means; `value` itself if there is none."""
    types = place.types or _ANYTHING
    if isinstance(value, str):
        parsed = _parsed(value, types)
        return value if parsed is _NOTHING else parsed
    if place.takes_numbers and isinstance(value, int | float) and types <= _TEXT:
        text = _written(value)
        return value if text is None or (place.texts is not None and text not in place.texts) else text
    if isinstance(value, float) and "integer" in types and math.isfinite(value) and value.is_integer():
        return int(value)  # 1.0 is an integer (JSON Schema 2020-12, validation section 6.1.1), which not all can read
    return value


def _written(value: float) -> str | None:
    """The text of a number or truth value as JSON has it; None for a number that has several."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value) or abs(value) >= _EXACT:
        return None
    return str(int(value)) if value.is_integer() else repr(value)


def json_lines(text: str) -> list[JsonObject] | None:
    """The objects of a text of several lines, each a JSON object; None: it is no such text."""
    lines = [line for line in text.splitlines() if line and not line.isspace()]
    if len(lines) < 2:
        return None
    try:
        objects = [pydantic_core.from_json(line, allow_inf_nan=False) for line in lines]
    except ValueError:
        return None
    return objects if all(map(is_object, objects)) else None


_NOTHING: Any = object()


def _parsed(text: str, types: frozenset[JsonType]) -> Any:
    first = text.lstrip(" \t\r\n")[:1]
    if not first:
        return _NOTHING
    if first in "TFN":
        word = _WORDS.get(text.strip(), _NOTHING)
        return word if word is not _NOTHING and json_type(word) in types else _NOTHING
    if first == "{" and "array" in types and "object" not in types:
        lines = json_lines(text)
        return _NOTHING if lines is None else lines
    if types.isdisjoint(_TYPES_BY_FIRST.get(first, _NUMBERS)):
        return _NOTHING  # most texts need no parser to be seen through
    try:
        value = pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError:
        return _NOTHING
    if isinstance(value, float):
        if not math.isfinite(value):  # 1e400 is JSON, and no number that could be sent on
            return _NOTHING
        if "number" not in types:
            return int(value) if value.is_integer() and abs(value) < _EXACT and "integer" in types else _NOTHING
    return value if json_type(value) in types and not isinstance(value, str) else _NOTHING
