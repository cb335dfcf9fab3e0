"""The input and output dialects: the keywords of a Schema Object that input schemas and output schemas keep."""

from dataclasses import dataclass

from stoa.infrastructure.openapi.direction import Direction
from stoa.infrastructure.openapi.text import MEMBER_LIMIT

_RESULT_TEXT_LIMIT = 160
_DEMANDS = (
    frozenset({"minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType", "contentSchema"})
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"}
    | {"minProperties", "maxProperties", "propertyNames", "patternProperties", "unevaluatedProperties"}
    | {"dependentSchemas", "dependentRequired", "not", "if", "then", "else", "default", "examples"}
)
"""Keywords that real answers violate and that explain little: a client would refuse a good answer over them."""


@dataclass(frozen=True, slots=True)
class Dialect:
    direction: Direction
    text_limit: int
    """Characters of a member's description."""
    omitted: frozenset[str]
    """Keywords that are left out."""
    is_closed: bool
    """True if `additionalProperties: false` is kept."""


INPUT_DIALECT = Dialect(Direction.INPUT, MEMBER_LIMIT, frozenset(), is_closed=True)
"""Strict: a model that knows the constraints makes fewer calls that the API refuses."""
OUTPUT_DIALECT = Dialect(Direction.OUTPUT, _RESULT_TEXT_LIMIT, _DEMANDS, is_closed=False)
"""Lenient: structure and types only, because real responses violate their description."""
