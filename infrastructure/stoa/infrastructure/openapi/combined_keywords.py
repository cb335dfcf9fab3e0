"""Normalises properties that several keywords of a Schema Object determine together: types, bounds, values and null.

Each function takes the schema as written (`raw`) and as normalised so far, and returns the next form; they are applied
in the order of this module.
"""

import json
from collections.abc import Callable
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_array, is_array, is_object, texts_in
from stoa.infrastructure.openapi import keywords
from stoa.infrastructure.openapi.dialect import Dialect
from stoa.infrastructure.openapi.node import ANNOTATIONS, Node, Reference
from stoa.infrastructure.openapi.values import meant

Warn = Callable[[str], None]

_SAYS_THE_TYPE = frozenset({"anyOf", "oneOf", "enum", "const", "not", "if"})
_NULL: JsonObject = {"type": "null"}


def types_of(raw: JsonObject, schema: JsonObject, warn: Warn) -> list[str]:
    """The JSON types meant, inferred if `type` is missing or not a JSON type; an empty list allows any."""
    types, is_clean = keywords.types_of(raw["type"]) if "type" in raw else ([], True)
    if not is_clean:
        meaning = " or ".join(types) if types else "anything"
        warn(f"`type` is {str(raw['type'])[:40]!r}; read as {meaning}")
    if raw.get("format") == "int-or-string" and types == ["string"]:
        return ["integer", "string"]  # Kubernetes' IntOrString, sent as either
    if not types and "type" not in raw and schema.keys().isdisjoint(_SAYS_THE_TYPE):
        return ["object"] if "properties" in schema else ["array"] if "items" in schema else []
    return types


def with_types(raw: JsonObject, schema: JsonObject, types: list[str], dialect: Dialect) -> JsonObject:
    """Sets `type` (one name or a list) and the keywords that a type requires."""
    if raw.get("type") == "file" and "format" not in schema and "format" not in dialect.omitted:
        schema = {**schema, "format": "binary"}
    if types:
        schema = {**schema, "type": types[0] if len(types) == 1 else types}
    return {**schema, "items": {}} if "array" in types and "items" not in schema else schema


def with_numeric_bounds(raw: JsonObject, schema: JsonObject, dialect: Dialect, warn: Warn) -> JsonObject:
    """Turns exclusive bounds, which are booleans next to the inclusive ones in 2.0 and 3.0, into numbers."""
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in dialect.omitted:
            continue
        bound = raw.get(exclusive)
        if bound is True and inclusive in schema:
            bound = schema[inclusive]
            schema = {keyword: value for keyword, value in schema.items() if keyword != inclusive}
            schema[exclusive] = bound
        elif bound is not None and not isinstance(bound, bool):
            limit = keywords.number(bound)
            if limit is None:
                warn(keywords.not_usable(exclusive))
            else:
                schema = {**schema, exclusive: limit}
    return schema


def with_values(raw: JsonObject, schema: JsonObject, types: list[str], dialect: Dialect, warn: Warn) -> JsonObject:
    """Sets `enum`, `const`, `default` and `examples`, as far as the type allows them."""
    changed = _with_enum(raw, schema, types, warn)
    if "const" in raw and keywords.is_json(raw["const"]):
        changed["const"] = meant(raw["const"], types)
    default = None if "default" in dialect.omitted else meant(raw.get("default"), types)
    if default is not None and keywords.fits(default, types) and keywords.is_json(default):
        if default in changed.get("enum", [default]):
            changed["default"] = default
        else:
            warn("`default` is none of the values of `enum`; ignored")
    if types and "examples" not in dialect.omitted and (examples := keywords.short_examples(raw, types)):
        changed["examples"] = examples
    return changed


def _with_enum(raw: JsonObject, schema: JsonObject, types: list[str], warn: Warn) -> JsonObject:
    changed = dict(schema)
    if "enum" not in raw:
        return changed
    nullable = _is_nullable(raw)
    written = as_array(raw["enum"])
    if types == ["array"] and written and not any(is_array(value) for value in written):
        return _with_enum_of_entries(raw, changed, warn)
    values = keywords.distinct([meant(value, types) for value in written if keywords.is_json(value)])
    if len(values) < len(written):
        warn("`enum` lists a value twice, or one that is no JSON value; it is left out")
    possible = [value for value in values if keywords.fits(value, types) or (nullable and value is None)]
    if values and not possible:
        warn(f"no value of `enum` is of type {changed.pop('type')}; the type is ignored")
        possible = values
        if all(isinstance(value, str) for value in values):
            changed["type"] = "string"
    elif len(possible) < len(values):
        left_out = ", ".join(json.dumps(value) for value in values if value not in possible)
        warn(f"values of `enum` are left out, because they are not of type {' or '.join(types)}: {left_out[:80]}")
    if possible:
        changed["enum"] = [*possible, None] if nullable and None not in possible else possible
    else:
        warn("`enum` lists no usable value; ignored")
    return changed


def _with_enum_of_entries(raw: JsonObject, schema: JsonObject, warn: Warn) -> JsonObject:
    """Takes values that are written beside an array, and are none, for those of its entries."""
    warn("`enum` beside `type: array` lists no arrays; its values are taken for those of the entries")
    items = schema.get("items", {})
    if isinstance(items, Reference) or "enum" in items:
        return schema
    types = texts_in(items["type"]) if is_array(items.get("type")) else [items["type"]] if "type" in items else []
    return {**schema, "items": _with_enum({"enum": raw["enum"]}, items, types, warn)}


def with_null(raw: JsonObject, schema: JsonObject, types: list[str]) -> JsonObject:
    """Writes `nullable` (3.0) and `x-nullable` (2.0) as a type or an alternative."""
    if not _is_nullable(raw) or "null" in types:
        return schema
    if "type" in schema:
        return {**schema, "type": [*types, "null"]}
    alternatives = next((keyword for keyword in ("anyOf", "oneOf") if keyword in schema), None)
    if alternatives is not None:
        branches: list[Any] = schema[alternatives]
        return schema if _NULL in branches else {**schema, alternatives: [*branches, dict(_NULL)]}
    if "allOf" not in schema:
        return schema  # nothing that null would violate
    notes = {keyword: value for keyword, value in schema.items() if keyword in ANNOTATIONS}
    constraints = {keyword: value for keyword, value in schema.items() if keyword not in ANNOTATIONS}
    return {"anyOf": [without_lone_all_of(constraints), dict(_NULL)], **notes}


def with_null_alternatives(alternatives: Any) -> Any:
    """Alternatives of which `{nullable: true}` is null: so generators write an optional value in 3.0. By the letter it
    would accept anything, and so would the whole choice."""
    if not is_array(alternatives) or len(alternatives) <= 1:
        return alternatives
    return [dict(_NULL) if is_object(one) and _is_only_nullable(one) else one for one in alternatives]


def _is_only_nullable(raw: JsonObject) -> bool:
    return _is_nullable(raw) and raw.keys() <= ANNOTATIONS | {"nullable", "x-nullable"}


def without_lone_all_of(schema: JsonObject) -> Node:
    """Replaces an `allOf` around one schema, with only annotations next to it, by that schema."""
    branches = schema.get("allOf")
    if branches is None or len(branches) != 1:
        return schema
    only: Node = branches[0]
    notes = {keyword: value for keyword, value in schema.items() if keyword in ANNOTATIONS}
    constraints = {
        keyword: value for keyword, value in schema.items() if keyword not in ANNOTATIONS and keyword != "allOf"
    }
    if constraints not in ({}, {"type": "object"}):
        return schema
    if isinstance(only, Reference):
        return Reference(only.pointer, {**only.siblings, **notes})
    return {**only, **notes}


def _is_nullable(raw: JsonObject) -> bool:
    return raw.get("nullable") is True or raw.get("x-nullable") is True
