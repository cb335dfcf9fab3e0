"""The places of schemas within a JSON Schema (2020-12 core sections 8 and 10, and older drafts).

`subschemas` walks them, `with_subschemas` rewrites them. All code that walks a schema uses these two and the keyword
sets here, so that a keyword is known everywhere or nowhere.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from stoa.domain.schema.json_value import JsonObject, is_array, is_object

_SINGLE_IN_PLACE = frozenset({"not", "if", "then", "else"})
_SINGLE_BELOW = frozenset(
    {"items", "additionalItems", "unevaluatedItems", "contains"}
    | {"additionalProperties", "unevaluatedProperties", "propertyNames"}
)
_LISTS_IN_PLACE = frozenset({"allOf", "anyOf", "oneOf"})
_LISTS_BELOW = frozenset({"prefixItems", "items"})  # `items` is a schema since 2020-12, and was a list before
_MAPS_IN_PLACE = frozenset({"dependentSchemas", "dependencies"})
_MAPS_BELOW = frozenset({"properties", "patternProperties"})

DEFINITIONS = frozenset({"$defs", "definitions"})
SINGLE = _SINGLE_IN_PLACE | _SINGLE_BELOW
"""Keywords whose value is a schema."""
LISTS = _LISTS_IN_PLACE | _LISTS_BELOW
"""Keywords whose value is a list of schemas."""
MAPS = _MAPS_IN_PLACE | _MAPS_BELOW | DEFINITIONS
"""Keywords whose value is an object of schemas, by arbitrary names."""
IN_PLACE = _SINGLE_IN_PLACE | _LISTS_IN_PLACE | _MAPS_IN_PLACE
"""Keywords whose schemas apply to the same value as the schema that they stand in."""
KEYWORDS = SINGLE | LISTS | MAPS
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
DATA = frozenset({"enum", "const", "default", "examples", "example", "dependentRequired"})
"""Keywords whose value is data, in which nothing is a schema."""

Place = Literal["here", "below", "defined"]
"""The value that a subschema applies to: the same one, something within it, or none by itself."""


class Subschema(NamedTuple):
    keyword: str
    key: str | int | None
    """Name or position under the keyword; None: the keyword's value is the schema."""
    schema: JsonObject | bool
    place: Place


def subschemas(schema: JsonObject) -> Iterator[Subschema]:
    """Yields the schemas directly within `schema`, in its order; targets of references are not among them."""
    for keyword, value in schema.items():
        if keyword in KEYWORDS:
            place: Place = "here" if keyword in IN_PLACE else "defined" if keyword in DEFINITIONS else "below"
            for key, candidate in parts(keyword, value):
                if is_schema(candidate):
                    yield Subschema(keyword, key, candidate, place)


def parts(keyword: str, value: Any) -> Iterator[tuple[str | int | None, Any]]:
    """Yields the values under `keyword` where schemas are expected, each with its name or position.

    An unknown keyword is taken to hold one schema or a list of them, because vocabularies may define more.
    """
    if keyword in DATA:
        return
    if is_array(value):
        yield from enumerate(value)
    elif keyword in MAPS and is_object(value):
        yield from value.items()
    else:
        yield None, value


def with_subschemas(keyword: str, value: Any, change: Callable[[Any], Any]) -> Any:
    """The value of `keyword` after `change` was applied to every value where a schema is expected (`parts`).

    `change` has to return values that are not schemas unchanged: documents are not always valid.
    """
    if keyword in DATA:
        return value
    if is_array(value):
        return [change(entry) for entry in value]
    if keyword in MAPS and is_object(value):
        return {name: change(entry) for name, entry in value.items()}
    return change(value)


def is_schema(value: Any) -> bool:
    """True for an object or a boolean, the two forms of a schema."""
    return isinstance(value, (dict, bool))
