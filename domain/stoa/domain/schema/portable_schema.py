"""The portable form of an input schema, which every client understands.

Each client, and each model API behind it, takes a part of JSON Schema. A keyword that one of them does not take costs
the tool, the list, or the whole conversation (docs/client-compatibility.md names them). A portable schema has an object
at its root with properties and no combinators, no references, one type for every value, `items` for every array, and
only keywords of the common part.

It is written breadth-first within a size, so that the nearest levels are whole and the deepest go first. A part that is
cut off keeps its type, its values and its required members, and names in words what is hidden. The portable form is no
larger than the original, apart from what clients demand.

The portable schema accepts what the original accepts, with four exceptions, which are said in words: null and the empty
string where another value is allowed, anything beside alternatives that say what they are, members that only some
alternatives at the root describe, and values of another type where keywords imply one. Arguments are validated against
the original.
"""

import json
from collections import deque
from typing import Any

from stoa.domain.schema.flat_schema import References, Trail
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.portable_level import ANYTHING, Level, level_of
from stoa.domain.schema.portable_root import root_level
from stoa.domain.schema.portable_words import cut

SIZE_LIMIT = 6_500
"""Bytes of JSON up to which members are described one by one. Models read every one of them."""
_SMALL = 1_000
"""Bytes that are always allowed: what clients demand may make the portable form of a small schema larger than it."""
_FULL = 1_000
"""Bytes up to which descriptions are written in full."""
_RICH = 2_500
"""Bytes up to which each value has a description, and a component is written each time that it is used."""
_SHORT = 160
"""Characters of a description between _FULL and _RICH."""
_BRIEF = 100
"""Characters of a description near the root beyond _RICH; deeper ones are left out."""
_OUTLINES = 16_000
"""Bytes beyond the limit for the names of what is hidden: they are cheap, and a model can use a member by its name."""
_OUTLINE = 4_000
"""Characters of one such list of names."""
_OUTLINE_DEPTH = 12
"""Levels of members whose names are listed."""
_REPEATS = 1
"""Upper bound on the times that a component is written within itself."""
_STUB_DEPTH = 5
"""Levels of required members in a part that is cut off."""
_STUB_SIZE = 300
"""Bytes of the limit for each of these levels."""
_LISTS_IN_LISTS = -3
"""Lowest level to which alternatives and lists within each other are followed."""
_DESCRIPTION = len(',"description":""')


def portable(schema: JsonObject, size: int = SIZE_LIMIT) -> JsonObject:
    """The portable form of an input schema, in about `size` bytes; the very same object if nothing has to change."""
    try:
        original = _size(schema)
        made = _Expansion(schema, size, original).made()
        allowed = max(original, _SMALL)
        if _size(made) > allowed:
            made = _Expansion(schema, min(size, allowed), original).made()
    except RecursionError:  # hundreds of levels: no client shows such a schema to a model
        return schema
    return schema if made == schema else made


class _Part:
    """A value in the schema that is made: `written` is its place there, which holds a stub until it is expanded.

    `name`: of the member that the value belongs to. `depth`: members between it and the root. `component`: the
    reference that leads to it, for an object; empty if it is described in place.
    """

    __slots__ = ("component", "depth", "level", "name", "path", "size", "written")

    def __init__(
        self, level: Level, written: JsonObject, *, name: str = "", path: str = "", depth: int = 0, component: str = ""
    ) -> None:
        self.level = level
        self.written = written
        self.size = _size(written)
        self.name = name
        self.path = path
        self.depth = depth
        self.component = component


class _Expansion:
    """Writes a schema from its root outwards, as far as a size allows."""

    def __init__(self, schema: JsonObject, limit: int, original: int) -> None:
        self._schema = schema
        self._references = References(schema)
        self._levels: dict[tuple[int, Trail], tuple[Any, Level]] = {}
        self._limit = limit
        self._stub_depth = min(_STUB_DEPTH, limit // _STUB_SIZE)
        self._rich = min(_RICH, limit, max(original, _SMALL))
        self._full = min(_FULL, self._rich)
        outlines = _OUTLINES * min(limit, SIZE_LIMIT) // SIZE_LIMIT  # a smaller budget has fewer names too
        self._names_limit = max(limit, min(limit + outlines, original))
        self._original = original
        self._spent = 0
        self._said: set[tuple[str, str]] = set()
        """Descriptions that are written already, with the member's name: once is enough."""
        self._shown: dict[str, str] = {}
        """Path at which each component was expanded."""
        self._described: list[tuple[JsonObject, str]] = []
        """Each schema with a description, and the part of it that cannot be left out."""
        self._outlined: list[tuple[JsonObject, str]] = []
        """Each schema whose description names hidden members, in the same form."""

    def made(self) -> JsonObject:
        root = root_level(self._schema, self._references)
        schema, waiting = self._written(_Part(root, {}), None)
        self._spent = _size(schema)
        hidden: list[_Part] = []
        parts = deque(waiting)
        while parts:
            part = parts.popleft()
            inner = self._expanded(part)
            if inner is None:
                hidden.append(part)
            else:
                parts.extend(inner)
        for part in hidden:
            self._name_hidden(part)
        self._shorten(_size(schema) - max(self._original, min(_SMALL, self._limit)))
        return schema

    # -- expanding

    def _expanded(self, part: _Part) -> list[_Part] | None:
        """The parts within `part` after it was written; None if its stub has to do."""
        if part.component and (
            part.level.trail.count(part.component) > 1 + _REPEATS
            or (part.component in self._shown and self._spent > self._rich)
        ):
            return None
        brief = _BRIEF if part.depth == 1 else 0
        grades = ((None, self._full), (_SHORT, self._rich), (brief, self._limit))
        for text_limit, limit in grades:
            written, inner = self._written(part, text_limit)
            cost = _size(written) - part.size
            if cost <= 0 or self._spent + cost <= limit:
                break
        else:
            return None
        self._spent += cost
        if part.component:
            self._shown.setdefault(part.component, part.path)
        part.written.clear()
        part.written.update(written)
        if "description" in written:
            if text_limit != 0:
                self._said.add((part.name, part.level.description))
            self._described.append((part.written, "; ".join(part.level.words)))
        return inner

    def _written(self, part: _Part, text_limit: int | None) -> tuple[JsonObject, list[_Part]]:
        """A part with stubs for all that is within it, and these. `text_limit`: characters of its description."""
        level = part.level
        written: JsonObject = dict(level.keywords)
        inner: list[_Part] = []
        text = self._text(part, text_limit)
        if text:
            written["description"] = text
        if level.type == "object":
            if level.members or level.extra is None:
                written["properties"] = {
                    name: self._stub_within(part, schema, name, inner) for name, schema in level.members.items()
                }
            if level.required:
                written["required"] = level.required
            if level.extra is not None:
                written["additionalProperties"] = self._stub_within(part, level.extra, "*", inner)
        elif level.type == "array":
            written["items"] = self._stub_within(part, level.items, "", inner)
        elif level.alternatives:
            written["anyOf"] = [self._stub_within(part, schema, "", inner) for schema in level.alternatives]
        return written, inner

    def _stub_within(self, outer: _Part, schema: Any, name: str, inner: list[_Part]) -> JsonObject:
        """The stub of a schema within `outer`. `name`: of the member that it describes; empty if it describes the
        same one."""
        level = self._level(schema, outer.level.trail)
        stub = self._stub(level, outer.level.trail, self._stub_depth)
        path = f"{outer.path}.{name}".lstrip(".") if name else outer.path
        component = _component(level, outer.level)
        depth = outer.depth + (name != "")
        inner.append(_Part(level, stub, name=name or outer.name, path=path, depth=depth, component=component))
        return stub

    def _stub(self, level: Level, above: Trail, left: int) -> JsonObject:
        """The form of a value that is cut off: its type, its values, its required members."""
        stub: JsonObject = {keyword: value for keyword, value in level.keywords.items() if keyword != "default"}
        is_within_itself = len(level.trail) > len(above) and level.trail[-1] in above
        is_last = left <= 0 or is_within_itself
        if level.type == "object":
            required = [] if is_last else level.required
            left -= len(required) // 4  # many members each with many required ones are too many
            members = {name: self._stub_of(level.members[name], level, left) for name in required}
            if members or level.extra is None or level.members or is_last:
                stub["properties"] = members
            else:
                stub["additionalProperties"] = self._stub_of(level.extra, level, left)
            if required:
                stub["required"] = required
        elif level.type == "array":
            stub["items"] = dict(ANYTHING) if left < _LISTS_IN_LISTS else self._stub_of(level.items, level, left)
        elif level.alternatives and left < _LISTS_IN_LISTS:
            stub["anyOf"] = ANYTHING["anyOf"]
        elif level.alternatives:
            stubs = [self._stub_of(schema, level, left) for schema in level.alternatives]
            stub["anyOf"] = [form for number, form in enumerate(stubs) if form not in stubs[:number]]
        return stub

    def _stub_of(self, schema: Any, outer: Level, left: int) -> JsonObject:
        return self._stub(self._level(schema, outer.trail), outer.trail, left - 1)

    def _level(self, schema: Any, trail: Trail) -> Level:
        key = (id(schema), trail)
        entry = self._levels.get(key)
        if entry is None:  # kept with its schema, whose id is then no other's
            entry = self._levels[key] = (schema, level_of(schema, trail, self._references))
        return entry[1]

    # -- words

    def _text(self, part: _Part, limit: int | None) -> str:
        """The description of a part, with the limits that only words express."""
        level = part.level
        text = level.description if limit is None else cut(level.description, limit) if limit else ""
        if (part.name, level.description) in self._said or _letters(text) == _letters(part.name):
            text = ""
        words = "; ".join([*level.words, *level.form, *(level.hints if limit is None or limit == _SHORT else ())])
        return f"{text} ({words})" if text and words else text or words

    def _name_hidden(self, part: _Part) -> None:
        """Says in a stub what it hides: where the same is described, or the names of its members."""
        place = self._shown.get(part.component)
        room = min(_OUTLINE, self._names_limit - self._spent)
        if place is not None:
            words = f"as {place}" if place else ""
        else:
            if part.component:
                self._shown[part.component] = part.path
            words = self._outline(part.level, room - _DESCRIPTION, _OUTLINE_DEPTH)
        words = cut(words, room - _DESCRIPTION - 2) if words and room > 2 * _DESCRIPTION else ""
        words = "; ".join([*part.level.words, *([words] if words else [])])
        if words:
            part.written["description"] = words
            self._outlined.append((part.written, "; ".join(part.level.words)))
            self._spent += len(words) + _DESCRIPTION

    def _outline(self, level: Level, room: int, depth: int) -> str:
        """The names of the members of a value, and those within them, in about `room` characters."""
        if level.type == "array":
            return self._outline_of(level.items, level, room, depth)
        if level.type == "object" and not level.members and level.extra is not None:
            return self._outline_of(level.extra, level, room, depth)
        if level.alternatives:
            outlines = [self._outline_of(schema, level, room // 2, depth) for schema in level.alternatives]
            return cut(" | ".join(filter(None, outlines)), max(room, 1))
        names: list[str] = []
        for name, schema in level.members.items():
            if room <= 0:
                return ", ".join([*names, "…"])
            below = self._outline_of(schema, level, room - len(name) - 5, depth - 1) if depth > 1 else ""
            names.append(f"{name} {{{below}}}" if below else name)
            room -= len(names[-1]) + 2
        return ", ".join(names)

    def _outline_of(self, schema: Any, outer: Level, room: int, depth: int) -> str:
        level = self._level(schema, outer.trail)
        component = _component(level, outer)
        if room <= 0 or component in self._shown:
            return ""
        if component:
            self._shown[component] = ""
        return self._outline(level, room, depth)

    def _shorten(self, excess: int) -> None:
        """Leaves descriptions out, the deepest first and those with names last, until `excess` bytes are saved."""
        for written, words in (*reversed(self._described), *reversed(self._outlined)):
            if excess <= 0:
                return
            excess -= _size(written)
            if words:
                written["description"] = words
            else:
                del written["description"]
            excess += _size(written)


def _component(level: Level, outer: Level) -> str:
    return level.trail[-1] if len(level.trail) > len(outer.trail) and (level.members or level.alternatives) else ""


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


_json_text = json.JSONEncoder(check_circular=False, ensure_ascii=False, separators=(",", ":")).encode
"""An encoder that is made once: `json.dumps` makes one for each value."""


def _size(value: Any) -> int:
    """Bytes of the JSON text."""
    return len(_json_text(value).encode("utf-8", "surrogatepass"))
