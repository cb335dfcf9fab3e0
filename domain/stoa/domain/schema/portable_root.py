"""The root of a portable schema: one object with the members that any alternative describes, because the Anthropic API
takes no combinators there."""

from collections.abc import Mapping
from typing import Any

from stoa.domain.schema.condition_words import condition_words, together
from stoa.domain.schema.flat_schema import References, is_never
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object, texts_in
from stoa.domain.schema.portable_level import ANYTHING, Level

_DEPTH = 8
"""Alternatives within alternatives whose members are taken."""
_CHOICES = ("anyOf", "oneOf")


def root_level(schema: JsonObject, references: References) -> Level:
    """The level of an input schema itself."""
    flat, trail = references.flat(schema, ())
    members, required = _over_alternatives(flat, references, _DEPTH)
    level = Level(trail, {"type": "object"})
    level.description, level.required = as_text(flat.get("description")), required
    level.members = {name: member for name, member in members.items() if not is_never(member)}
    extra = flat.get("additionalProperties")
    if is_object(extra) and not is_never(extra) and "patternProperties" not in flat:
        level.extra = extra
    for name in required:
        level.members.setdefault(name, ANYTHING if level.extra is None else level.extra)
    for keyword in _CHOICES:
        needed = [texts_in(references.flat(part, ())[0].get("required")) for part in as_array(flat.get(keyword))]
        level.words += together([name for name in names if name not in required] for names in needed)
    level.words += condition_words(flat)
    return level


def _over_alternatives(flat: JsonObject, references: References, left: int) -> tuple[dict[str, Any], list[str]]:
    """The members of an object over all its alternatives and conditions, and the names that all of them require."""
    members: dict[str, Any] = dict(as_object(flat.get("properties")))
    required = texts_in(flat.get("required"))
    if left == 0:
        return members, required
    for keyword in _CHOICES:
        branches = [
            _over_alternatives(references.flat(part, ())[0], references, left - 1)
            for part in as_array(flat.get(keyword))
        ]
        for more, _ in branches:
            _add(members, more)
        if branches:
            by_all = set(branches[0][1]).intersection(*(needed for _, needed in branches))
            required += [name for name in branches[0][1] if name in by_all]
    for keyword in ("then", "else"):
        if keyword in flat:
            _add(members, _over_alternatives(references.flat(flat[keyword], ())[0], references, left - 1)[0])
    return members, list(dict.fromkeys(required))


def _add(members: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, schema in more.items():
        present = members.setdefault(name, schema)
        if present != schema and present is not True and not is_never(schema):
            members[name] = {"anyOf": [present, schema]} if schema and not is_never(present) else schema
