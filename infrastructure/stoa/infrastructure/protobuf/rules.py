"""protovalidate rules (`buf.validate.field`) as keywords of JSON Schema. A rule that has none, such as a CEL
expression, stays for the server to check."""

from typing import Any

import jsonschema_rs

from stoa.domain.schema.json_value import JsonObject, as_object

_NUMBERS = frozenset({"float", "double", "int32", "uint32", "sint32", "fixed32", "sfixed32"})
_BOUNDS = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum", "const": "const"}
_STRINGS = {"minLen": "minLength", "maxLen": "maxLength", "const": "const", "in": "enum"}
_FORMATS = ("email", "hostname", "ipv4", "ipv6", "uri", "uuid")
_ITEMS = {"minItems": "minItems", "maxItems": "maxItems", "unique": "uniqueItems"}
_PAIRS = {"minPairs": "minProperties", "maxPairs": "maxProperties"}


def with_rules(schema: JsonObject, rules: JsonObject) -> tuple[JsonObject, bool]:
    """The schema with what FieldRules demand, and whether the field is required."""
    if not rules:
        return schema, False
    added: JsonObject = {}
    for kind, content in rules.items():
        rule = as_object(content)
        if kind in _NUMBERS and schema.get("type") == "integer":
            added |= _translated(rule, _BOUNDS)
        elif kind in _NUMBERS and "anyOf" in schema:
            added["anyOf"] = [{"type": "number", **_translated(rule, _BOUNDS)}]
        elif kind == "string":
            added |= _string(rule)
        elif kind == "repeated":
            added |= _translated(rule, _ITEMS)
            items, _ = with_rules(as_object(schema.get("items")), as_object(rule.get("items")))
            added["items"] = items
        elif kind == "map":
            added |= _translated(rule, _PAIRS)
    return {**schema, **added}, rules.get("required") is True


def _translated(rule: JsonObject, names: dict[str, str]) -> JsonObject:
    """64-bit counts are strings in ProtoJSON."""
    return {names[key]: _number(value) for key, value in rule.items() if key in names}


def _string(rule: JsonObject) -> JsonObject:
    made = {_STRINGS[key]: value for key, value in rule.items() if key in _STRINGS and key in {"const", "in"}}
    made |= {_STRINGS[key]: int(value) for key, value in rule.items() if key in {"minLen", "maxLen"}}
    if "len" in rule:
        made |= {"minLength": int(rule["len"]), "maxLength": int(rule["len"])}
    pattern = rule.get("pattern")
    if isinstance(pattern, str) and is_usable({"type": "string", "pattern": pattern}):  # RE2, which is nearly ECMA-262
        made["pattern"] = pattern
    for name in _FORMATS:
        if rule.get(name) is True:
            made["format"] = name
    return made


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


def is_usable(schema: JsonObject) -> bool:
    """The validator takes it; what it refuses here it would refuse at registration, and with it the whole tool."""
    try:
        jsonschema_rs.validator_for(schema, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return False
    return True
