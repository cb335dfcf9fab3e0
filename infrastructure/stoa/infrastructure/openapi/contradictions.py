"""Takes keywords out of a normalised schema that contradict each other: nothing would satisfy it, and a client would be
shown a tool that cannot be called."""

from collections.abc import Callable

from stoa.domain.schema.json_value import JsonObject

Warn = Callable[[str], None]

_BOUNDS = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
    ("minimum", "maximum"),
)
_OPEN_BOUNDS = (
    ("exclusiveMinimum", "maximum"),
    ("minimum", "exclusiveMaximum"),
    ("exclusiveMinimum", "exclusiveMaximum"),
)
"""Pairs of which the first must be less than the second."""
_SAID_BY_VALUES = frozenset(
    {"pattern", "format", "minLength", "maxLength", "multipleOf"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)
"""Keywords that say no more where the possible values are listed, or the contrary."""


def without_contradictions(schema: JsonObject, warn: Warn) -> JsonObject:
    """The schema without keywords that leave no value for it, as far as its own keywords tell."""
    if "enum" in schema or "const" in schema:
        schema = {keyword: value for keyword, value in schema.items() if keyword not in _SAID_BY_VALUES}
    if "enum" in schema and "const" in schema:
        if schema["const"] not in schema["enum"]:
            warn("`const` is none of the values of `enum`; `enum` is ignored")
        schema = {keyword: value for keyword, value in schema.items() if keyword != "enum"}
    for pairs, is_open in ((_BOUNDS, False), (_OPEN_BOUNDS, True)):
        for least, most in pairs:
            if least not in schema or most not in schema:
                continue
            if schema[least] > schema[most] or (is_open and schema[least] == schema[most]):
                warn(f"no value is within `{least}` and `{most}`; both are ignored")
                schema = {keyword: value for keyword, value in schema.items() if keyword not in {least, most}}
    return _with_required_members(schema, warn)


def _with_required_members(schema: JsonObject, warn: Warn) -> JsonObject:
    """Describes members that are required and refused, because the object is closed and does not name them."""
    if schema.get("additionalProperties") is not False or "required" not in schema or "patternProperties" in schema:
        return schema
    properties: JsonObject = schema.get("properties", {})
    missing = [name for name in schema["required"] if name not in properties]
    if not missing or "allOf" in schema:  # a part may name it
        return schema
    warn(f"required members are not described, and no others are allowed; anything is accepted for {missing[0][:60]!r}")
    return {**schema, "properties": {**properties, **{name: {} for name in missing}}}
