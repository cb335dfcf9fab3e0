"""One level of a portable schema: the keywords that every client takes, for one value; the schemas within stay as they
are written until their own level is made.

docs/client-compatibility.md names the clients, and why each keyword is written as it is here.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from stoa.domain.schema.condition_words import condition_words, together
from stoa.domain.schema.flat_schema import (
    NOTES,
    References,
    Trail,
    is_never,
    is_number,
    merged,
    types_in,
)
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_array, is_object, texts_in
from stoa.domain.schema.portable_pattern import in_ascii
from stoa.domain.schema.portable_tuple import tuple_entries
from stoa.domain.schema.portable_words import cut

_SCALARS: JsonObject = {
    "anyOf": [*({"type": name} for name in ("string", "number", "boolean")), {"type": "object", "properties": {}}]
}
ANYTHING: JsonObject = {"anyOf": [*_SCALARS["anyOf"], {"type": "array", "items": _SCALARS}]}
"""A schema for any value. Clients of Gemini refuse a member without a type, and drop `items` that are empty."""
_LIMITS = {
    "string": ("minLength", "maxLength", "pattern"),
    "number": ("minimum", "maximum", "multipleOf"),
    "integer": ("minimum", "maximum", "multipleOf"),
    "array": ("minItems", "maxItems", "uniqueItems"),
    "object": ("minProperties", "maxProperties"),
}
_INNER = {"array": ("items", "prefixItems"), "object": ("properties", "required", "additionalProperties")}
_BOUNDS = (
    ("exclusiveMinimum", "minimum", 1, "greater than"),
    ("exclusiveMaximum", "maximum", -1, "less than"),
)
_BY_TYPE = {
    name: frozenset((*_LIMITS.get(name, ()), *_INNER.get(name, ()), "format", "exclusiveMinimum", "exclusiveMaximum"))
    for name in ("object", "array", "string", "number", "integer", "boolean", "null")
}
"""Keywords that constrain values of a type."""
_ANY_TYPE = frozenset({"enum", "const", "anyOf", "oneOf"})
_VALUES_ONLY = frozenset({"enum", "const", "type", "title", "description"})
_ALTERNATIVES = 64
"""Upper bound on the alternatives of one value."""
_RANGES = 16
"""Upper bound on the ranges that a list of numbers becomes; more are too many for a reader."""
_WORDS = 200
"""Characters of a list of values or names in words."""


class Level:
    """The shown parts of one value, while they are collected. `members`, `items`, `extra` and `alternatives` are
    schemas as they were written."""

    __slots__ = (
        *("alternatives", "description", "extra", "form", "hints", "items"),
        *("keywords", "members", "required", "trail", "words"),
    )

    def __init__(self, trail: Trail, keywords: JsonObject | None = None) -> None:
        self.trail = trail
        self.keywords: JsonObject = {} if keywords is None else keywords
        """`type`, `enum`, and limits."""
        self.description = ""
        self.words: list[str] = []
        """Limits that only words can express to all clients."""
        self.form: list[str] = []
        """The format in words, which may be left out for size."""
        self.hints: list[str] = []
        """Examples, which may be left out."""
        self.members: JsonObject = {}
        self.required: list[str] = []
        self.items: Any = None
        self.extra: Any = None
        """The schema of members without a name of their own."""
        self.alternatives: list[Any] = []

    def after(self, trail: Trail) -> "Level":
        """The same level, reached by a longer trail."""
        level = Level.__new__(Level)
        level.trail = (*trail, *self.trail) if self.trail else trail
        level.keywords, level.description, level.words = self.keywords, self.description, self.words
        level.form, level.hints, level.members, level.required = self.form, self.hints, self.members, self.required
        level.items, level.extra, level.alternatives = self.items, self.extra, self.alternatives
        return level

    @property
    def type(self) -> str:
        return str(self.keywords.get("type", ""))


def level_of(schema: Any, trail: Trail, references: References) -> Level:
    """The level of a value that `schema` describes, reached by `trail`."""
    flat, trail = references.flat(schema, trail)
    flat, trail, branches, is_nullable, words = _without_alternatives(flat, trail, references)
    types = types_in(flat.get("type"))
    is_nullable = is_nullable or ("null" in types and len(types) > 1)
    types = [name for name in types if name != "null"] or types
    level = Level(trail)
    level.words = words
    if "number" in types and "integer" in types:
        types.remove("integer")
    if not branches and not types:
        types = _implied(flat)
    if not branches and len(types) > 1:
        branches = [_of_type(flat, name) for name in types]
    values = _values(flat)
    if values is not None and not branches:
        is_nullable = (is_nullable or None in values) and values != [None]
        branches = _add_values(level, [value for value in values if value is not None] or values, types)
    elif len(types) == 1 and not branches:
        level.keywords["type"] = types[0]
    if branches:
        level.alternatives = branches
    elif not level.type:
        level.alternatives = list(ANYTHING["anyOf"])
    else:
        _add_limits(level, flat)
        _add_inner(level, flat, references)
        level.words += condition_words(flat)
    _add_notes(level, flat, is_nullable=is_nullable)
    return level


# -- alternatives


def _without_alternatives(
    flat: JsonObject, trail: Trail, references: References
) -> tuple[JsonObject, Trail, list[Any], bool, list[str]]:
    """`flat` without `anyOf` and `oneOf`, the schemas of two alternatives or more, whether null is another, and which
    members go together in words. A single alternative becomes part of `flat`."""
    is_nullable = False
    words: list[str] = []
    for _ in range(_ALTERNATIVES):  # an alternative that is merged may have alternatives of its own
        written = as_array(flat.get("anyOf") or flat.get("oneOf"))
        if not written:
            break
        base = {keyword: value for keyword, value in flat.items() if keyword not in {"anyOf", "oneOf"}}
        branches: list[tuple[Any, JsonObject]] = []
        for branch, content in _spread(written, references):
            if content.get("type") == "null" or content.get("enum") == [None] or content.get("const", 0) is None:
                is_nullable = True
            elif not is_never(content):
                branches.append((branch, content))
        constraints = {keyword: value for keyword, value in base.items() if keyword not in NOTES}
        if constraints and branches and all(content.keys() <= NOTES | {"required", "type"} for _, content in branches):
            words += together(texts_in(content.get("required")) for _, content in branches)
            return base, trail, [], is_nullable, words
        described = [entry for entry in branches if not entry[1].keys() <= NOTES]
        if described and len(described) < len(branches):
            words.append("or any other value")  # a value without a type helps no model
            branches = described
        elif not described:
            branches = branches[:1]
        alternatives = _joined(constraints, branches, references)
        if len(alternatives) != 1:
            notes = {keyword: value for keyword, value in base.items() if keyword in NOTES}
            return notes if alternatives else base, trail, alternatives, is_nullable, words
        content, trail = references.flat(alternatives[0], trail)
        flat = merged(content, base)
    return flat, trail, [], is_nullable, words


def _joined(constraints: JsonObject, branches: list[tuple[Any, JsonObject]], references: References) -> list[Any]:
    """The alternatives, each with what stands beside them: clients of Gemini take nothing but notes there."""
    joined = _values_joined(branches)
    if not constraints or len(joined) < 2:
        return joined
    distinct: list[Any] = []
    seen: list[JsonObject] = []
    for branch in joined:
        alternative = {"allOf": [constraints, branch]}
        content, _ = references.flat(alternative, ())
        if content not in seen:
            seen.append(content)
            distinct.append(alternative)
    return distinct


def _spread(written: Iterable[Any], references: References) -> Iterator[tuple[Any, JsonObject]]:
    """The alternatives with their keywords; those that are nothing but alternatives are replaced by these."""
    waiting = list(written)[::-1]
    count = 0
    seen: list[Any] = []
    while waiting and count < _ALTERNATIVES:
        branch = waiting.pop()
        content, _ = references.flat(branch, ())
        inner = as_array(content.get("anyOf") or content.get("oneOf"))
        count += 1
        if inner and content.keys() <= NOTES | {"anyOf", "oneOf"}:
            waiting += reversed(inner)
        elif content not in seen:
            seen.append(content)
            yield branch, content


def _values_joined(branches: list[tuple[Any, JsonObject]]) -> list[Any]:
    """The alternatives, with all that are nothing but values of one type written as one."""
    joined: dict[str, list[tuple[Any, str]]] = {}
    alone: dict[str, Any] = {}
    rest: list[Any] = []
    for branch, content in branches:
        values = _values(content)
        kinds = {_type_of(value) for value in values or ()}
        if values and content.keys() <= _VALUES_ONLY and len(kinds) == 1 and not kinds & {"object", "array"}:
            (kind,) = kinds
            if kind not in joined:
                joined[kind] = []
                rest.append(kind)
            alone[kind] = None if joined[kind] else branch
            about = as_text(content.get("description")) or as_text(content.get("title"))
            joined[kind] += [(value, about if len(values) == 1 else "") for value in values]
        else:
            rest.append(branch)
    parts: list[Any] = []
    for entry in rest:
        if not isinstance(entry, str):
            parts.append(entry)
        elif alone[entry] is not None:  # as it is written, with its description
            parts.append(alone[entry])
        else:
            parts += _one_of(entry, joined[entry])
    return parts


def _one_of(kind: str, values: list[tuple[Any, str]]) -> list[JsonObject]:
    described = [f"{value}: {about}" for value, about in values if about]
    notes = {"description": "; ".join(described)} if described else {}
    distinct = [value for number, (value, _) in enumerate(values) if value not in [v for v, _ in values[:number]]]
    in_ranges = [] if described else _in_ranges(kind, distinct)
    return in_ranges or [{"type": kind, "enum": distinct, **notes}]


# -- types and values


def _implied(flat: JsonObject) -> list[str]:
    """The type of a schema that names none, by its keywords: clients of Gemini refuse a schema without a type."""
    return [name for name, keywords in _BY_TYPE.items() if not flat.keys().isdisjoint(keywords - {"format"})][:1]


def _of_type(flat: JsonObject, name: str) -> JsonObject:
    """The part of a schema that is about one of its types."""
    wanted = _BY_TYPE[name] | _ANY_TYPE if name in _BY_TYPE else _ANY_TYPE
    part = {keyword: value for keyword, value in flat.items() if keyword in wanted}
    if is_array(part.get("enum")):
        part["enum"] = [value for value in part["enum"] if _is_of(value, name)]
        if not part["enum"]:
            del part["enum"]
    return {"type": name, **part}


def _values(flat: JsonObject) -> list[Any] | None:
    if "const" in flat:
        return [flat["const"]]
    return list(flat["enum"]) if is_array(flat.get("enum")) and flat["enum"] else None


def _add_values(level: Level, values: list[Any], types: list[str]) -> list[Any]:
    """Writes a list of values; returns alternatives if they are of several types.

    Clients of Gemini take values of strings only, and none that is empty. Numbers become ranges.
    """
    values = [value for value in values if not types or any(_is_of(value, name) for name in types)] or values
    kinds = list(dict.fromkeys(_type_of(value) for value in values))
    if {"integer", "number"} <= set(kinds):
        kinds.remove("integer")
    if len(kinds) > 1:
        of_kinds = {kind: [value for value in values if _is_of(value, kind)] for kind in kinds}
        return [
            part for kind, own in of_kinds.items() for part in _in_ranges(kind, own) or [{"type": kind, "enum": own}]
        ]
    (kind,) = kinds
    level.keywords["type"] = kind
    if kind == "string":
        texts = [value for value in values if value]
        if texts:
            level.keywords["enum"] = texts
        else:
            level.keywords["maxLength"] = 0
        if texts and len(texts) < len(values):
            level.words.append("or an empty string")
    elif kind in {"integer", "number"}:
        in_ranges = _in_ranges(kind, values)
        if kind == "number" or in_ranges or len(values) != max(values) - min(values) + 1:
            level.words.append(_listed(values))
        if in_ranges:
            del level.keywords["type"]
            return in_ranges
        level.keywords |= {"minimum": min(values), "maximum": max(values)}
    elif kind != "null" and not (kind == "boolean" and len(values) > 1):
        level.words.append(_listed(values))
    return []


def _in_ranges(kind: str, values: list[Any]) -> list[JsonObject]:
    """Alternatives that are together exactly these numbers, each without a gap; empty if one would do, or too many
    were needed."""
    if kind not in {"integer", "number"}:
        return []
    ranges: list[JsonObject] = []
    for value in sorted(set(values)):
        if ranges and isinstance(value, int) and ranges[-1]["maximum"] == value - 1:
            ranges[-1]["maximum"] = value
        else:
            ranges.append({"type": kind, "minimum": value, "maximum": value})
    return ranges if 1 < len(ranges) <= _RANGES else []


def _listed(values: list[Any]) -> str:
    written = ", ".join(_json(value) for value in values)
    return f"one of {cut(written, _WORDS)}" if len(values) > 1 else f"only {cut(written, _WORDS)}"


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float) and value.is_integer():
        return "integer"
    kinds = ((int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def _is_of(value: Any, name: str) -> bool:
    kind = _type_of(value)
    return kind == name or (kind == "integer" and name == "number")


# -- limits, members, notes


def _add_limits(level: Level, flat: JsonObject) -> None:
    for keyword in _LIMITS.get(level.type, ()):
        if keyword in flat:
            level.keywords.setdefault(keyword, flat[keyword] if keyword != "pattern" else in_ascii(flat[keyword]))
    for exclusive, inclusive, step, words in _BOUNDS:
        bound = flat.get(exclusive)
        if level.type not in {"integer", "number"} or not is_number(bound) or inclusive in level.keywords:
            continue  # a flag before draft 6; beside an inclusive bound, that one alone constrains less
        if level.type == "integer" and isinstance(bound, int):
            level.keywords[inclusive] = bound + step
        else:
            level.keywords[inclusive] = bound
            level.words.append(f"{words} {bound}")
    form = flat.get("format")
    if form == "date-time" and level.type == "string" and "enum" not in level.keywords:
        level.keywords["format"] = form  # the one format that all clients take
    elif isinstance(form, str) and level.type == "string":
        level.form.append(f"format: {form}")


def _add_inner(level: Level, flat: JsonObject, references: References) -> None:
    if level.type == "array":
        level.items = flat.get("items", True)
        if as_array(flat.get("prefixItems")):
            entries, most, words = tuple_entries(flat, references)
            level.items = entries or ANYTHING
            level.words += words
            if most is not None:
                level.keywords.setdefault("maxItems", most)
    if level.type != "object":
        return
    level.members = {name: schema for name, schema in as_object(flat.get("properties")).items() if not is_never(schema)}
    extra = flat.get("additionalProperties")
    has_patterns = "patternProperties" in flat
    level.extra = extra if is_object(extra) and not is_never(extra) and not has_patterns else None
    level.required = list(dict.fromkeys(texts_in(flat.get("required"))))
    for name in level.required:
        level.members.setdefault(name, ANYTHING if level.extra is None else level.extra)


def _add_notes(level: Level, flat: JsonObject, *, is_nullable: bool) -> None:
    level.description = as_text(flat.get("description")).strip()
    title = as_text(flat.get("title")).strip()
    if not level.description:
        level.description = title
    if is_nullable:
        level.words.append("null clears it")
    default = flat.get("default")
    if default is not None:
        level.keywords["default"] = default
    examples = [value for value in as_array(flat.get("examples")) if value != default and not is_object(value)]
    if examples and "enum" not in level.keywords:
        level.hints.append("e.g. " + cut(", ".join(_json(value) for value in examples[:2]), _WORDS))
    if "x-mcp-header" in flat:
        level.keywords["x-mcp-header"] = flat["x-mcp-header"]


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
