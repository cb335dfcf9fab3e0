"""An input schema as every client understands it.

Clients and the models' APIs behind them each take a part of JSON Schema; what one of them does not take costs the
tool, the list, or the whole conversation (docs/client-compatibility.md names who and what). A portable schema has an
object at its root with properties and no combinators, no references, no type lists, `items` for every array and
`properties` for every object, and only keywords of the common part.

Whatever the original accepts, apart from nulls where another type is allowed, the portable one accepts too: it only
says less. One exception is meant: a member that only some alternatives or conditions at the root describe is shown as
they describe it, because a member without a type helps no model; elsewhere the original may let it be anything.
Arguments are held against the original.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object

BUDGET = 24 * 1024
"""Characters, about, that a schema may grow to when references are written out."""
_NESTING = (8, 5, 4, 3, 2, 1)
"""How many references inside references are written out: the most that fits the budget, else none."""
_REPEATS = 2
"""How often a schema is written out within itself."""

_NOT_SCHEMAS = frozenset({"enum", "const", "default", "examples", "example", "dependentRequired"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_KEPT = frozenset(
    {"type", "title", "description", "default", "examples", "enum", "required", "properties", "additionalProperties"}
    | {"items", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "anyOf", "allOf"}
    | {"minimum", "maximum", "multipleOf", "minLength", "maxLength", "pattern", "format", "x-mcp-header"}
)
_NOTES = frozenset({"title", "description", "default", "examples"})
_NULL: JsonObject = {"type": "null"}


class _TooLarge(Exception):
    """Caught here, every time."""


def portable(schema: JsonObject) -> JsonObject:
    """The portable form of an input schema; the very same object where nothing has to change."""
    try:
        made = _root(inlined(schema))
    except RecursionError:  # hundreds of levels: nobody was going to understand it
        return schema
    return schema if made == schema else made


def inlined(schema: JsonObject) -> JsonObject:
    """The schema without references to its own parts: they are written out, as deep as the budget allows; what is cut
    off, and what refers elsewhere, accepts anything."""
    if not _refers(schema):
        return schema
    for nesting in _NESTING:
        try:
            return _Inliner(schema, nesting).whole()
        except _TooLarge:
            continue
    return _Inliner(schema, 0, budget=None).whole()


def _refers(value: Any) -> bool:
    if is_object(value):
        return "$ref" in value or "$defs" in value or "definitions" in value or any(map(_refers, value.values()))
    return is_array(value) and any(map(_refers, value))


class _Inliner:
    def __init__(self, root: JsonObject, nesting: int, *, budget: int | None = BUDGET) -> None:
        self._root = root
        self._nesting = nesting
        self._left = budget

    def whole(self) -> JsonObject:
        return as_object(self._schema(self._root, ()))

    def _schema(self, schema: Any, trail: tuple[str, ...]) -> Any:
        if not is_object(schema):
            return schema
        beside: JsonObject = {
            key: self._member(key, value, trail)
            for key, value in schema.items()
            if key not in {"$ref", "$defs", "definitions"}
        }
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return beside
        target = self._target(reference)
        if target is None or len(trail) >= self._nesting or trail.count(reference) >= _REPEATS:
            return {**_stub(reference, target), **beside}
        return _merged(self._schema(target, (*trail, reference)), beside)

    def _member(self, key: str, value: Any, trail: tuple[str, ...]) -> Any:
        self._spend(len(key) + (len(value) if isinstance(value, str) else 12 * len(value) if is_array(value) else 8))
        if key in _NOT_SCHEMAS:
            return value
        if key in _MAPS and is_object(value):
            self._spend(sum(len(name) + 8 for name in value))
            return {name: self._schema(inner, trail) for name, inner in value.items()}
        if is_array(value):
            return [self._schema(inner, trail) for inner in value]
        return self._schema(value, trail)

    def _spend(self, characters: int) -> None:
        if self._left is not None:
            self._left -= characters
            if self._left < 0:
                raise _TooLarge

    def _target(self, reference: str) -> JsonObject | None:
        """What a JSON Pointer into this schema points at; None for everything else."""
        if reference == "#":
            return self._root
        if not reference.startswith("#/"):
            return None
        here: Any = self._root
        for token in unquote(reference[2:]).split("/"):
            key = token.replace("~1", "/").replace("~0", "~")
            if is_array(here):
                here = here[int(key)] if key.isdecimal() and int(key) < len(here) else None
            else:
                here = as_object(here).get(key)
        return here if is_object(here) else None


def _stub(reference: str, target: JsonObject | None) -> JsonObject:
    """What stands where a reference is not followed."""
    known = target or {}
    name = reference.rpartition("/")[2].lstrip("#") or "the whole again"
    note = f"{known.get('description') or ''} ({name}, not described further here)".strip()
    kind = known.get("type")
    return {"type": kind, "description": note} if isinstance(kind, str) else {"description": note}


def _merged(target: JsonObject, beside: JsonObject) -> JsonObject:
    if beside.keys() <= _NOTES or beside.keys().isdisjoint(target):
        return {**target, **beside}
    notes = {key: value for key, value in beside.items() if key in _NOTES}
    rest = {key: value for key, value in beside.items() if key not in _NOTES}
    return {"allOf": [target, rest], **notes}


def _root(schema: JsonObject) -> JsonObject:
    properties, required = _flat(schema)
    made: JsonObject = {
        "type": "object",
        **{key: schema[key] for key in ("title", "description") if isinstance(schema.get(key), str)},
        "properties": {name: _portable(inner) for name, inner in properties.items()},
    }
    if required:
        made["required"] = required
    extra = schema.get("additionalProperties")
    if extra is not None and "patternProperties" not in schema:
        made["additionalProperties"] = _portable(extra) if is_object(extra) else extra
    return made


def _flat(schema: Any) -> tuple[dict[str, Any], list[str]]:
    """The members of an object, whichever alternative or condition they come from, and those that all require."""
    members = as_object(schema)
    properties: dict[str, Any] = dict(as_object(members.get("properties")))
    required: list[str] = _names(members.get("required"))
    for part in _list(members.get("allOf")):
        more, needed = _flat(part)
        _add(properties, more)
        required += needed
    for keyword in ("anyOf", "oneOf"):
        branches = [_flat(part) for part in _list(members.get(keyword))]
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
        known = properties.setdefault(name, schema)
        if known != schema and known is not True:
            properties[name] = {"anyOf": [known, schema]} if schema else schema


def _portable(schema: Any) -> Any:
    if not is_object(schema):
        return {}
    made: JsonObject = {key: value for key, value in schema.items() if key in _KEPT}
    if "const" in schema:
        made["enum"] = [schema["const"]]
    _alternatives(schema, made)
    types = _types(made)
    _bounds(schema, made, types)
    _format(made)
    _object(schema, made, types)
    if "array" in types:
        made["items"] = _portable({} if "prefixItems" in schema else schema.get("items"))
    else:
        made.pop("items", None)
    return made


def _alternatives(schema: JsonObject, made: JsonObject) -> None:
    if "oneOf" in schema and "anyOf" not in schema:
        made["anyOf"] = schema["oneOf"]
    if "anyOf" in made:
        branches = [_portable(part) for part in _list(made.pop("anyOf")) if part != _NULL]
        if len(branches) == 1 and branches[0].keys().isdisjoint(made.keys() - _NOTES):
            made.update({**branches[0], **{key: value for key, value in made.items() if key in _NOTES}})
        elif branches:
            made["anyOf"] = branches
    if "allOf" in made:
        parts = [_portable(part) for part in _list(made.pop("allOf"))]
        if all(part.get("type", "object") == "object" and "anyOf" not in part for part in parts):
            properties, required = _flat({"allOf": parts, **made})
            made.update({"type": "object", "properties": properties, "required": required})
            made.pop("additionalProperties", None)
        elif parts:
            made["allOf"] = parts


def _types(made: JsonObject) -> list[str]:
    """Leaves one type, or alternatives; null goes where there is another."""
    written = made.get("type")
    types = [written] if isinstance(written, str) else _names(written)
    others = [name for name in types if name != "null"] or types
    if len(others) == 1:
        made["type"] = others[0]
    elif others:
        del made["type"]
        made.setdefault("anyOf", [_portable({"type": name}) for name in others])
    if "null" in types and len(types) > 1 and is_array(made.get("enum")):
        made["enum"] = [value for value in made["enum"] if value is not None] or made["enum"]
    return others if len(others) == 1 else []


def _bounds(schema: JsonObject, made: JsonObject, types: list[str]) -> None:
    for exclusive, inclusive, step, words in (
        ("exclusiveMinimum", "minimum", 1, "greater than"),
        ("exclusiveMaximum", "maximum", -1, "less than"),
    ):
        bound = schema.get(exclusive)
        if isinstance(bound, bool) or not isinstance(bound, (int, float)) or inclusive in schema:
            continue
        if types == ["integer"] and isinstance(bound, int):
            made[inclusive] = bound + step
        else:
            made[inclusive] = bound
            _note(made, f"{words} {bound}")


def _format(made: JsonObject) -> None:
    form = made.get("format")
    if form is None or form == "date-time":
        return
    del made["format"]
    if isinstance(form, str) and made.get("type") == "string":
        _note(made, f"format: {form}")


def _note(made: JsonObject, text: str) -> None:
    made["description"] = f"{made.get('description') or ''} ({text})".strip()


def _object(schema: JsonObject, made: JsonObject, types: list[str]) -> None:
    if "object" not in types and "properties" not in made:
        made.pop("additionalProperties", None)
        made.pop("required", None)
        return
    made["properties"] = {name: _portable(inner) for name, inner in as_object(made.get("properties")).items()}
    if not made.get("required"):
        made.pop("required", None)
    extra = made.get("additionalProperties")
    if extra is not None and ("patternProperties" in schema or not isinstance(extra, bool)):
        made["additionalProperties"] = _portable(extra) if "patternProperties" not in schema else True


def _list(value: Any) -> list[Any]:
    return value if is_array(value) else []


def _names(value: Any) -> list[str]:
    return [name for name in _list(value) if isinstance(name, str)]
