"""The portable form of an input schema, which every client understands.

Each client, and each model API behind it, takes a part of JSON Schema. A keyword that one of them does not take costs
the tool, the list, or the whole conversation (docs/client-compatibility.md names them). A portable schema has an object
at its root with properties and no combinators, no references, no type lists, `items` for every array and `properties`
for every object, and only keywords of the common part.

The portable schema accepts everything that the original accepts, apart from nulls where another type is allowed: it
only constrains less. One exception is intended: a member that only some alternatives or conditions at the root describe
is shown as they describe it, because a member without a type helps no model; elsewhere the original may let it be
anything. Arguments are validated against the original.
"""

from collections.abc import Callable, Mapping
from typing import Any

from stoa.domain.schema.inlining import inlined
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, is_array, is_object, texts_in

_KEYWORDS = frozenset(
    {"type", "title", "description", "default", "examples", "enum", "required", "properties", "additionalProperties"}
    | {"items", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "anyOf", "allOf"}
    | {"minimum", "maximum", "multipleOf", "minLength", "maxLength", "pattern", "format", "x-mcp-header"}
)
"""Keywords that all clients take."""
_REWRITTEN = frozenset({"exclusiveMinimum", "exclusiveMaximum", "patternProperties", "prefixItems"})
"""Keywords that a rewrite reads and then removes."""
_BOUNDS = (
    ("exclusiveMinimum", "minimum", 1, "greater than"),
    ("exclusiveMaximum", "maximum", -1, "less than"),
)
_NOTES = frozenset({"title", "description", "default", "examples"})
_NULL: JsonObject = {"type": "null"}


def portable(schema: JsonObject) -> JsonObject:
    """The portable form of an input schema; the very same object if nothing has to change."""
    try:
        rewritten = _root(inlined(schema))
    except RecursionError:  # hundreds of levels: no client shows such a schema to a model
        return schema
    return schema if rewritten == schema else rewritten


def _root(schema: JsonObject) -> JsonObject:
    properties, required = _flat(schema)
    root: JsonObject = {
        "type": "object",
        **{key: schema[key] for key in ("title", "description") if isinstance(schema.get(key), str)},
        "properties": {name: _portable(inner) for name, inner in properties.items()},
    }
    if required:
        root["required"] = required
    extra = schema.get("additionalProperties")
    if extra is not None and "patternProperties" not in schema:
        root["additionalProperties"] = _portable(extra) if is_object(extra) else extra
    return root


def _portable(schema: Any) -> Any:
    """The portable form of a schema below the root: all rewrites in order."""
    if not is_object(schema):
        return {}
    for rewrite in _REWRITES:
        schema = rewrite(schema)
    return schema


def _const_as_enum(schema: JsonObject) -> JsonObject:
    return {**schema, "enum": [schema["const"]]} if "const" in schema else schema


def _one_of_as_any_of(schema: JsonObject) -> JsonObject:
    return {**schema, "anyOf": schema["oneOf"]} if "oneOf" in schema and "anyOf" not in schema else schema


def _common_keywords(schema: JsonObject) -> JsonObject:
    """Keeps the common keywords, and those that later rewrites express in common ones. An exclusive bound next to an
    inclusive one is dropped: the inclusive one alone constrains less, which is allowed."""
    superseded = {exclusive for exclusive, inclusive, *_ in _BOUNDS if inclusive in schema}
    wanted = (_KEYWORDS | _REWRITTEN) - superseded
    return {keyword: value for keyword, value in schema.items() if keyword in wanted}


def _any_of(schema: JsonObject) -> JsonObject:
    """Drops null from alternatives, and replaces a single alternative by its schema."""
    if "anyOf" not in schema:
        return schema
    rest = _without(schema, "anyOf")
    branches = [_portable(branch) for branch in as_array(schema["anyOf"]) if branch != _NULL]
    if len(branches) == 1 and branches[0].keys().isdisjoint(rest.keys() - _NOTES):
        return {**rest, **branches[0], **{keyword: value for keyword, value in rest.items() if keyword in _NOTES}}
    return {**rest, "anyOf": branches} if branches else rest


def _all_of(schema: JsonObject) -> JsonObject:
    """Merges the objects of an `allOf` into one object with the members of all."""
    if "allOf" not in schema:
        return schema
    rest = _without(schema, "allOf")
    branches = [_portable(branch) for branch in as_array(schema["allOf"])]
    if all(branch.get("type", "object") == "object" and "anyOf" not in branch for branch in branches):
        properties, required = _flat({"allOf": branches, **rest})
        joined = {**rest, "type": "object", "properties": properties, "required": required}
        return _without(joined, "additionalProperties")
    return {**rest, "allOf": branches}


def _one_type(schema: JsonObject) -> JsonObject:
    """Replaces a list of types by one type, or by alternatives; null is dropped where there is another."""
    written = schema.get("type")
    types = [written] if isinstance(written, str) else texts_in(written)
    others = [name for name in types if name != "null"] or types
    if len(others) == 1:
        schema = {**schema, "type": others[0]}
    elif others:
        schema = _without(schema, "type")
        if "anyOf" not in schema:
            schema = {**schema, "anyOf": [_portable({"type": name}) for name in others]}
    if "null" in types and len(types) > 1 and is_array(schema.get("enum")):
        schema = {**schema, "enum": [value for value in schema["enum"] if value is not None] or schema["enum"]}
    return schema


def _inclusive_bounds(schema: JsonObject) -> JsonObject:
    """Replaces exclusive bounds. Integers have a next number; for other numbers the bound becomes inclusive, and the
    excluded value is stated in words."""
    for exclusive, inclusive, step, words in _BOUNDS:
        if exclusive not in schema:
            continue
        bound, schema = schema[exclusive], _without(schema, exclusive)
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            continue  # before draft 6 it was a flag
        if schema.get("type") == "integer" and isinstance(bound, int):
            schema = {**schema, inclusive: bound + step}
        else:
            schema = _noted({**schema, inclusive: bound}, f"{words} {bound}")
    return schema


def _format_in_words(schema: JsonObject) -> JsonObject:
    form = schema.get("format")
    if form is None or form == "date-time":  # the one format that all clients take
        return schema
    schema = _without(schema, "format")
    is_text = isinstance(form, str) and schema.get("type") == "string"
    return _noted(schema, f"format: {form}") if is_text else schema


def _object_members(schema: JsonObject) -> JsonObject:
    """Gives every object `properties`, and removes object keywords from all other types."""
    has_patterns, schema = "patternProperties" in schema, _without(schema, "patternProperties")
    if schema.get("type") != "object" and "properties" not in schema:
        return _without(schema, "additionalProperties", "required")
    members = {name: _portable(member) for name, member in as_object(schema.get("properties")).items()}
    schema = {**schema, "properties": members}
    if not schema.get("required"):
        schema = _without(schema, "required")
    extra = schema.get("additionalProperties")
    if extra is None or (isinstance(extra, bool) and not has_patterns):
        return schema
    return {**schema, "additionalProperties": True if has_patterns else _portable(extra)}


def _array_items(schema: JsonObject) -> JsonObject:
    """Gives every array `items`. Those of a tuple describe the entries after its first ones, so they cannot stand
    alone."""
    is_tuple, schema = "prefixItems" in schema, _without(schema, "prefixItems")
    if schema.get("type") != "array":
        return _without(schema, "items")
    return {**schema, "items": _portable({} if is_tuple else schema.get("items"))}


_REWRITES: tuple[Callable[[JsonObject], JsonObject], ...] = (
    _const_as_enum,
    _one_of_as_any_of,
    _common_keywords,
    _any_of,  # may bring a type, members or entries, which the rewrites after it put in order
    _all_of,
    _one_type,
    _inclusive_bounds,  # by the type that is left
    _format_in_words,
    _object_members,
    _array_items,
)


def _without(schema: JsonObject, *keywords: str) -> JsonObject:
    if schema.keys().isdisjoint(keywords):
        return schema
    return {keyword: value for keyword, value in schema.items() if keyword not in keywords}


def _noted(schema: JsonObject, text: str) -> JsonObject:
    return {**schema, "description": f"{schema.get('description') or ''} ({text})".strip()}


def _flat(schema: Any) -> tuple[dict[str, Any], list[str]]:
    """The members of an object over all its alternatives and conditions, and the names that all of them require."""
    members = as_object(schema)
    properties: dict[str, Any] = dict(as_object(members.get("properties")))
    required: list[str] = texts_in(members.get("required"))
    for part in as_array(members.get("allOf")):
        more, needed = _flat(part)
        _add(properties, more)
        required += needed
    for keyword in ("anyOf", "oneOf"):
        branches = [_flat(part) for part in as_array(members.get(keyword))]
        for more, _ in branches:
            _add(properties, more)
        if branches:
            by_all = set(branches[0][1]).intersection(*(needed for _, needed in branches))
            required += [name for name in branches[0][1] if name in by_all]
    for keyword in ("then", "else"):
        if keyword in members:
            _add(properties, _flat(members[keyword])[0])
    return properties, list(dict.fromkeys(required))


def _add(properties: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, schema in more.items():
        present = properties.setdefault(name, schema)
        if present != schema and present is not True:
            properties[name] = {"anyOf": [present, schema]} if schema else schema
