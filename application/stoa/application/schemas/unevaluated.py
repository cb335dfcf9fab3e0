"""Limits on schemas with `unevaluatedProperties` or `unevaluatedItems` (2020-12 core section 11).

To find unevaluated members, a validator goes through the alternatives a second time, and through nested ones a fourth:
that is not counted in steps, and happens when the schema is compiled as well. Schemas in which it would happen often
are refused.
"""

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, is_object, objects_in
from stoa.domain.schema.schema_document import SchemaDocument
from stoa.domain.schema.subschemas import REFERENCES, subschemas

_KEYWORDS = ("unevaluatedProperties", "unevaluatedItems")
_CHOICES = frozenset({"anyOf", "oneOf", "if", "not", "dependentSchemas", "$dynamicRef", "$recursiveRef"})
_MOST_IN_PLACE = 200
_MOST_NODES = 64
_MOST_NESTED = 4
_ADVICE = "write additionalProperties (or items) into each alternative instead"


def check_unevaluated(root: JsonObject) -> None:
    """Raises InvalidInput if the work of checking would multiply."""
    document = SchemaDocument(root)
    telling = [node for node in objects_in(root) if any(keyword in node for keyword in _KEYWORDS)]
    if len(telling) > _MOST_NODES:
        raise InvalidInput(f"unevaluatedProperties and unevaluatedItems may stand {_MOST_NODES} times; {_ADVICE}")
    choosing = {id(node): node for node in telling if _chooses(document, node)}
    nested: dict[int, int] = {}
    for node in choosing.values():
        _nest(document, node, choosing, nested, set())


def _chooses(document: SchemaDocument, node: JsonObject) -> bool:
    """True if alternatives are among the schemas applied with `node`. Raises InvalidInput if there are too many."""
    waiting, room, chooses = [(node, 1)], _MOST_IN_PLACE, False
    while waiting:
        applied, times = waiting.pop()
        room -= times
        if room < 0:
            raise InvalidInput(f"unevaluatedProperties: too many schemas are applied together with it; {_ADVICE}")
        chooses = chooses or not _CHOICES.isdisjoint(applied)
        if any(keyword in applied for keyword in _KEYWORDS):
            times *= 3
        waiting += [(inner, times) for inner in _applied(document, applied, is_below=False)]
    return chooses


def _applied(document: SchemaDocument, schema: JsonObject, *, is_below: bool) -> list[JsonObject]:
    applied = [
        subschema.schema for subschema in subschemas(schema) if subschema.place == ("below" if is_below else "here")
    ]
    if not is_below:
        for keyword in REFERENCES:
            reference = schema.get(keyword)
            if isinstance(reference, str):
                applied.append(document.target(schema, reference))
    return [schema for schema in applied if is_object(schema)]


def _nest(
    document: SchemaDocument, node: JsonObject, choosing: dict[int, JsonObject], nested: dict[int, int], above: set[int]
) -> int:
    """The depth to which schemas of `choosing` are nested from `node` on. Raises InvalidInput above the limit."""
    depth_below = nested.get(id(node))
    if depth_below is not None:
        return depth_below
    if id(node) in above or len(above) >= _MOST_NESTED:
        raise InvalidInput(
            f"unevaluatedProperties over alternatives that contain themselves cannot be checked; {_ADVICE}"
        )
    depth, seen, waiting = 0, {id(node)}, [node]
    while waiting:
        schema = waiting.pop()
        for inner in (*_applied(document, schema, is_below=False), *_applied(document, schema, is_below=True)):
            if id(inner) == id(node):
                _nest(document, node, choosing, {}, {*above, id(node)})
            if id(inner) in seen:
                continue
            seen.add(id(inner))
            if id(inner) in choosing:
                depth = max(depth, _nest(document, inner, choosing, nested, {*above, id(node)}))
            else:
                waiting.append(inner)
    nested[id(node)] = depth + 1
    return depth + 1
