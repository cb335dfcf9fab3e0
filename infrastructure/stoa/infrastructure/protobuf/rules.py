"""protovalidate rules (`buf.validate.field`) as keywords of JSON Schema. A rule that has none, such as a CEL
expression, stays for the server to check."""

import re
from typing import Any

import jsonschema_rs

from stoa.domain.schema.json_value import JsonObject, as_array, as_object

_NUMBERS = frozenset({"float", "double", "int32", "uint32", "sint32", "fixed32", "sfixed32"})
_LOWER, _UPPER = {"gt": "exclusiveMinimum", "gte": "minimum"}, {"lt": "exclusiveMaximum", "lte": "maximum"}
_LENGTHS = {"minLen": "minLength", "maxLen": "maxLength"}
_FORMATS = ("email", "hostname", "ipv4", "ipv6", "uri", "uuid")
_ITEMS = {"minItems": "minItems", "maxItems": "maxItems", "unique": "uniqueItems"}
_PAIRS = {"minPairs": "minProperties", "maxPairs": "maxProperties"}
_NOT_APPLIED = frozenset({"IGNORE_ALWAYS", "IGNORE_IF_ZERO_VALUE", "IGNORE_IF_UNPOPULATED", "IGNORE_IF_DEFAULT_VALUE"})
"""Values of `ignore` with which the rules hold for no value, or for none but the default."""
_SYNTAX = re.compile(r"[\\^$.*+?()[\]{}|/]")


def with_rules(schema: JsonObject, rules: JsonObject) -> tuple[JsonObject, bool]:
    """The schema with what FieldRules demand, and whether the field is required."""
    ignored = rules.get("ignore")
    is_required = rules.get("required") is True and ignored != "IGNORE_ALWAYS"
    if not rules or ignored in _NOT_APPLIED:
        return schema, is_required
    added: JsonObject = {}
    for kind, content in rules.items():
        rule = as_object(content)
        if kind in _NUMBERS and schema.get("type") == "integer":
            added |= _number(rule)
        elif kind in _NUMBERS and "anyOf" in schema:
            added["anyOf"] = [{"type": "number", **_number(rule)}]
        elif kind == "bool":
            added |= _values(rule)
        elif kind == "string":
            added |= _string(rule)
        elif kind == "repeated":
            added |= _translated(rule, _ITEMS)
            added["items"], _ = with_rules(as_object(schema.get("items")), as_object(rule.get("items")))
        elif kind == "map":
            added |= _translated(rule, _PAIRS) | _entries(schema, rule)
    return {**schema, **added}, is_required


def _translated(rule: JsonObject, names: dict[str, str]) -> JsonObject:
    """64-bit counts are strings in ProtoJSON."""
    return {names[key]: _count(value) for key, value in rule.items() if key in names}


def _values(rule: JsonObject) -> JsonObject:
    made: JsonObject = {"const": rule["const"]} if "const" in rule else {}
    if as_array(rule.get("in")):
        made["enum"] = rule["in"]
    if as_array(rule.get("notIn")):
        made["not"] = {"enum": rule["notIn"]}
    return made


def _number(rule: JsonObject) -> JsonObject:
    lower, upper = _translated(rule, _LOWER), _translated(rule, _UPPER)
    if lower and upper and min(upper.values()) < max(lower.values()):  # what is outside of the range is meant
        return {**_values(rule), "anyOf": [lower, upper]}
    return {**_values(rule), **lower, **upper}


def _string(rule: JsonObject) -> JsonObject:
    made = _values(rule) | _translated(rule, _LENGTHS)
    if "len" in rule:
        made |= {"minLength": int(rule["len"]), "maxLength": int(rule["len"])}
    patterns = [
        form.format(_SYNTAX.sub(r"\\\g<0>", rule[name]))
        for name, form in (("prefix", "^{}"), ("suffix", "{}$"), ("contains", "{}"))
        if isinstance(rule.get(name), str)
    ]
    pattern = rule.get("pattern")
    if isinstance(pattern, str) and is_usable({"type": "string", "pattern": pattern}):  # RE2, which is nearly ECMA-262
        patterns.insert(0, pattern)
    if patterns:
        made["pattern"] = patterns[0]
    if len(patterns) > 1:
        made["allOf"] = [{"type": "string", "pattern": each} for each in patterns[1:]]
    for name in _FORMATS:
        if rule.get(name) is True:
            made["format"] = name
    return made


def _entries(schema: JsonObject, rule: JsonObject) -> JsonObject:
    made: JsonObject = {}
    if "keys" in rule:
        keys, _ = with_rules({"type": "string"}, {"string": as_object(as_object(rule["keys"]).get("string"))})
        made["propertyNames"] = {**as_object(schema.get("propertyNames")), **keys}
    if "values" in rule:
        values = as_object(schema.get("additionalProperties"))
        made["additionalProperties"], _ = with_rules(values, as_object(rule["values"]))
    return made


def _count(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


def is_usable(schema: JsonObject) -> bool:
    """The validator takes it; what it refuses here it would refuse at registration, and with it the whole tool."""
    try:
        jsonschema_rs.validator_for(schema, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return False
    return True
