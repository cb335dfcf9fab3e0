"""Schema Objects of any OpenAPI version to JSON Schema 2020-12, each named component once.

A normalised schema ("node") is plain JSON in which a `$ref` is a `Reference`; `bundle.py` decides later which of them
are written out in place and which become `$defs`. Nothing here follows a reference into its target's schema, so
circular documents cost nothing. One normaliser serves one direction: members that only go the other way are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_object, is_object
from stoa.infrastructure.openapi import keywords
from stoa.infrastructure.openapi.direction import Direction, DirectionFilter
from stoa.infrastructure.openapi.document import ApiDocument
from stoa.infrastructure.openapi.references import References, Unresolvable
from stoa.infrastructure.openapi.report import Report
from stoa.infrastructure.openapi.text import MEMBER_LIMIT, TITLE_LIMIT, line
from stoa.infrastructure.openapi.values import is_list, list_or_empty, text_or_empty, texts

_DEPTH_LIMIT = 60
"""Steps of a path within one component; two per member."""
_RESULT_TEXT_LIMIT = 160
ANNOTATIONS = frozenset({"title", "description", "default", "deprecated", "examples"})


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands where a component is used. `siblings` are what was said beside the `$ref`."""

    pointer: str
    siblings: JsonObject = field(default_factory=dict[str, Any])


Node = JsonObject | Reference

_ONE_SCHEMA = frozenset(
    {
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
        "contentSchema",
        "not",
    }
)
_SCHEMA_MAPS = frozenset({"patternProperties", "dependentSchemas"})
_COUNTS = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"}
)
_NUMBERS = frozenset({"minimum", "maximum"})
_STRICT = (
    _ONE_SCHEMA
    | _COUNTS
    | _NUMBERS
    | {"exclusiveMinimum", "exclusiveMaximum", "multipleOf", "pattern", "patternProperties", "uniqueItems", "format"}
    | {"default", "dependentSchemas", "dependentRequired", "contentEncoding", "contentMediaType"}
)
"""What real answers violate and nobody needs to understand them; a client would refuse a good answer over it."""


class SchemaNormaliser:
    def __init__(self, document: ApiDocument, references: References, report: Report, direction: Direction) -> None:
        self._full = document.has_full_schemas
        self._references = references
        self._report = report
        self._direction = direction
        self._text_limit = MEMBER_LIMIT if direction is Direction.INPUT else _RESULT_TEXT_LIMIT
        self._components: dict[str, Node] = {}
        self._trail: list[str] = []
        self._visibility = DirectionFilter(references, direction)
        self._handlers: dict[str, Callable[[JsonObject, str, Any], None]] = {
            **dict.fromkeys(_ONE_SCHEMA, self._one),
            **dict.fromkeys(_SCHEMA_MAPS, self._map),
            **dict.fromkeys(_COUNTS, self._count),
            **dict.fromkeys(_NUMBERS, self._number),
            **dict.fromkeys(("anyOf", "oneOf", "prefixItems"), self._many),
            **dict.fromkeys(("title", "description"), self._text),
            **dict.fromkeys(("format", "contentEncoding", "contentMediaType"), self._copy_text),
            **dict.fromkeys(("deprecated", "uniqueItems"), self._flag),
            "properties": self._properties,
            "additionalProperties": self._additional,
            "items": self._items,
            "multipleOf": self._multiple,
            "pattern": self._pattern,
            "dependentRequired": self._dependent_required,
        }
        # keywords that stand for themselves; what is not here and not read below (example, xml, x-...) goes

    def component(self, pointer: str) -> Node:
        """The normalised schema behind a Reference."""
        known = self._components.get(pointer)
        if known is None:
            trail, self._trail = self._trail, [pointer]
            try:
                known = self._node(self._references.target(pointer))
            finally:
                self._trail = trail
            self._components[pointer] = known
        return known

    def node(self, raw: Any, place: str) -> Node:
        """Normalise a schema that stands at `place`, which names it in findings. Never raises."""
        self._trail = [place]
        return self._node(raw)

    def _below(self, raw: Any, *keys: str, hidden: frozenset[str] = frozenset()) -> Node:
        """Normalise a schema that stands below the current one."""
        self._trail.extend(keys)
        node = self._node(raw, hidden)
        del self._trail[-len(keys) :]
        return node

    def _warn(self, message: str) -> None:
        self._report.warning("/".join(self._trail), message)

    def _node(self, raw: Any, hidden: frozenset[str] = frozenset()) -> Node:
        """`hidden`: members that a sibling branch of an allOf leaves out, so this one must not require them."""
        if raw is True:
            return {}
        if raw is False:
            return {"not": {}}
        if not is_object(raw):
            self._warn("a schema must be an object; anything is accepted here")
            return {}
        if len(self._trail) > _DEPTH_LIMIT:
            self._warn("nested too deeply; anything is accepted here")
            return {}
        if isinstance(raw.get("$ref"), str):
            return self._reference(raw, hidden)
        return self._object(raw, hidden)

    def _reference(self, raw: JsonObject, hidden: frozenset[str]) -> Node:
        beside = {key: value for key, value in raw.items() if key != "$ref"}
        if not self._full:  # before 3.1 only `$ref` counts; descriptions are meant all the same
            beside = {key: value for key, value in beside.items() if key in {"description", "title", "nullable"}}
        siblings = self._object(beside, hidden) if beside else {}
        try:
            pointer = self._references.end_of(raw["$ref"])
        except Unresolvable as problem:
            self._warn(f"{problem}; anything is accepted here")
            return siblings if is_object(siblings) else {}
        if beside.get("nullable") is True:
            notes = {key: value for key, value in as_object(siblings).items() if key in ANNOTATIONS}
            return {"anyOf": [Reference(pointer), {"type": "null"}], **notes}
        return Reference(pointer, siblings if is_object(siblings) else {})

    def _object(self, raw: JsonObject, hidden: frozenset[str]) -> Node:
        if "allOf" in raw:
            hidden = hidden | self._visibility.hidden_anywhere(raw)
        lenient = self._direction is Direction.OUTPUT
        out: JsonObject = {}
        for key, value in raw.items():
            if lenient and key in _STRICT:
                continue
            if key == "required":
                self._required(out, value, hidden | self._visibility.hidden_members(raw))
            elif key == "allOf":
                self._many(out, key, value, hidden)
            elif (handle := self._handlers.get(key)) is not None:
                handle(out, key, value)
        if "description" in out:
            out.pop("title", None)  # says less
        types = self._types(raw, out)
        self._bounds(raw, out)
        self._values(raw, out, types)
        return _simplified(self._nullable(raw, out, types))

    # -- members

    def _properties(self, out: JsonObject, key: str, value: Any) -> None:
        if not is_object(value):
            self._warn("`properties` must be an object; ignored")
            return
        kept: JsonObject = {}
        for name, schema in value.items():
            if self._visibility.is_hidden(schema):
                continue
            kept[name] = self._below(schema, key, name)
        out[key] = kept

    def _required(self, out: JsonObject, value: Any, hidden: frozenset[str]) -> None:
        names = [name for name in dict.fromkeys(texts(value)) if name not in hidden]
        if names:
            out["required"] = names
        if not is_list(value) and not isinstance(value, bool):  # `required: true` inside a member is an old habit
            self._warn("`required` must be a list of names; ignored")

    # -- subschemas

    def _one(self, out: JsonObject, key: str, value: Any) -> None:
        out[key] = self._below(value, key)

    def _additional(self, out: JsonObject, key: str, value: Any) -> None:
        if isinstance(value, bool):
            if value or self._direction is Direction.INPUT:
                out[key] = value
            return
        self._one(out, key, value)

    def _many(self, out: JsonObject, key: str, value: Any, hidden: frozenset[str] = frozenset()) -> None:
        schemas = list_or_empty(value)
        nodes = [self._below(schema, key, str(place), hidden=hidden) for place, schema in enumerate(schemas)]
        if not nodes:
            self._warn(f"`{key}` must be a list of schemas; ignored")
        elif key == "oneOf" and self._direction is Direction.OUTPUT:
            out.setdefault("anyOf", nodes)  # alternatives of real answers overlap
        else:
            out[key] = nodes

    def _map(self, out: JsonObject, key: str, value: Any) -> None:
        kept: JsonObject = {}
        for name, schema in as_object(value).items():
            if key == "patternProperties" and not keywords.is_portable_pattern(name, is_name=True):
                self._warn(
                    "a name in `patternProperties` is no regular expression for all clients, or too large; ignored"
                )
                continue
            kept[name] = self._below(schema, key, name)
        if kept:
            out[key] = kept

    def _items(self, out: JsonObject, key: str, value: Any) -> None:
        if is_list(value):
            self._warn("`items` must be one schema; its list is read as alternatives")
            nodes = [self._below(schema, key) for schema in value]
            out[key] = {} if not nodes else nodes[0] if len(nodes) == 1 else {"anyOf": nodes}
        else:
            self._one(out, key, value)

    # -- plain keywords

    def _text(self, out: JsonObject, key: str, value: Any) -> None:
        if isinstance(value, str) and value:
            shown = line(value, TITLE_LIMIT if key == "title" else self._text_limit)
            if shown:
                out[key] = shown

    def _copy_text(self, out: JsonObject, key: str, value: Any) -> None:
        if isinstance(value, str) and 0 < len(value) <= 100:
            out[key] = value

    def _flag(self, out: JsonObject, key: str, value: Any) -> None:
        if value is True:
            out[key] = True

    def _count(self, out: JsonObject, key: str, value: Any) -> None:
        self._checked(out, key, keywords.count(value))

    def _number(self, out: JsonObject, key: str, value: Any) -> None:
        self._checked(out, key, keywords.number(value))

    def _multiple(self, out: JsonObject, key: str, value: Any) -> None:
        step = keywords.number(value)
        self._checked(out, key, step if step is not None and step > 0 else None)

    def _checked(self, out: JsonObject, key: str, value: Any) -> None:
        if value is None:
            self._warn(f"`{key}` is not a number that it may be; ignored")
        else:
            out[key] = value

    def _pattern(self, out: JsonObject, key: str, value: Any) -> None:
        if isinstance(value, str) and keywords.is_portable_pattern(value):
            out[key] = value
        else:
            self._warn("`pattern` is no regular expression for all clients, or too large; ignored")

    def _dependent_required(self, out: JsonObject, key: str, value: Any) -> None:
        kept = {name: list(dict.fromkeys(texts(needed))) for name, needed in as_object(value).items()}
        if kept:
            out[key] = kept

    # -- what several keywords decide together

    def _types(self, raw: JsonObject, out: JsonObject) -> list[str]:
        """Set `type` (a single name or a list), and what a type needs."""
        types, is_clean = keywords.types_of(raw["type"]) if "type" in raw else ([], True)
        if not is_clean:
            meaning = " or ".join(types) if types else "anything"
            self._warn(f"`type` is {str(raw['type'])[:40]!r}; read as {meaning}")
        if raw.get("format") == "int-or-string" and types == ["string"]:
            types = ["integer", "string"]  # Kubernetes' IntOrString, sent as either
        if not types and "type" not in raw and out.keys().isdisjoint({"anyOf", "oneOf", "enum", "const", "not", "if"}):
            types = ["object"] if "properties" in out else ["array"] if "items" in out else []
        if raw.get("type") == "file" and "format" not in out and self._direction is Direction.INPUT:
            out["format"] = "binary"
        if types:
            out["type"] = types[0] if len(types) == 1 else types
        if "array" in types:
            out.setdefault("items", {})
        return types

    def _bounds(self, raw: JsonObject, out: JsonObject) -> None:
        """Boolean exclusive bounds (2.0, 3.0) become numeric."""
        if self._direction is Direction.OUTPUT:
            return
        for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            bound = raw.get(exclusive)
            if bound is True and inclusive in out:
                out[exclusive] = out.pop(inclusive)
            elif bound is not None and not isinstance(bound, bool):
                self._number(out, exclusive, bound)

    def _values(self, raw: JsonObject, out: JsonObject, types: list[str]) -> None:
        """enum, const, default and examples, as far as the type can have them."""
        nullable = _is_nullable(raw)
        if "enum" in raw:
            values = [value for value in keywords.distinct(list(list_or_empty(raw["enum"]))) if keywords.is_json(value)]
            possible = [value for value in values if keywords.fits(value, types) or (nullable and value is None)]
            if values and not possible:
                self._warn(f"no value of `enum` is of type {out.pop('type')}; the type is ignored")
                possible = values
            if possible:
                out["enum"] = [*possible, None] if nullable and None not in possible else possible
            else:
                self._warn("`enum` lists no usable value; ignored")
        if "const" in raw and keywords.is_json(raw["const"]):
            out["const"] = raw["const"]
        if self._direction is Direction.OUTPUT:
            return
        default = raw.get("default")
        if default is not None and keywords.fits(default, types) and keywords.is_json(default):
            out["default"] = default
        if types and (examples := keywords.short_examples(raw, types)):
            out["examples"] = examples

    def _nullable(self, raw: JsonObject, out: JsonObject, types: list[str]) -> JsonObject:
        if not _is_nullable(raw) or "null" in types:
            return out
        if "type" in out:
            out["type"] = [*types, "null"]
            return out
        alternatives = next((key for key in ("anyOf", "oneOf") if key in out), None)
        if alternatives is not None:
            if {"type": "null"} not in out[alternatives]:
                out[alternatives] = [*out[alternatives], {"type": "null"}]
            return out
        if "allOf" not in out:
            return out  # nothing that null would violate
        notes = {key: out.pop(key) for key in list(out) if key in ANNOTATIONS}
        return {"anyOf": [_simplified(out), {"type": "null"}], **notes}


def _is_nullable(raw: JsonObject) -> bool:
    return raw.get("nullable") is True or raw.get("x-nullable") is True


def _simplified(out: JsonObject) -> Node:
    """An allOf around one schema, with nothing but notes beside it, is that schema."""
    parts = out.get("allOf")
    if parts is None or len(parts) != 1:
        return out
    only: Node = parts[0]
    notes = {key: value for key, value in out.items() if key in ANNOTATIONS}
    constraints = {key: value for key, value in out.items() if key not in ANNOTATIONS and key != "allOf"}
    if constraints not in ({}, {"type": "object"}):
        return out
    if isinstance(only, Reference):
        return Reference(only.pointer, {**only.siblings, **notes})
    return {**only, **notes}


def described_node(node: Node, description: str) -> Node:
    """The node with this description, which wins over the schema's own."""
    if not description:
        return node
    if isinstance(node, Reference):
        return Reference(node.pointer, {**node.siblings, "description": description})
    return {**node, "description": description}


def description_of(node: Node) -> str:
    return text_or_empty((node.siblings if isinstance(node, Reference) else node).get("description"))
