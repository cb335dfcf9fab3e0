"""The output schema of an operation: the GraphQL response (section 7.1) with the data that its selection gives, or the
list of responses that a subscription gives.

Nothing is required and all may be null: partial data is an answer too, and the argument `fields` may select something
else.
"""

import json
from collections.abc import Mapping
from typing import Any

from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.graphql.input_schema import scalar
from stoa.infrastructure.graphql.schema_text import graphql

BUDGET = 24 * 1024
"""Bytes; a larger schema is left out."""

_ERRORS: JsonObject = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"message": {"type": "string"}, "path": {"type": "array"}, "code": {"type": "string"}},
    },
    "description": "Present when the data is partial: fields that failed are null in it.",
}


def answer_schema(schema: Any, operation: Any, fragments: Mapping[str, Any]) -> JsonObject | None:
    """For a valid operation of the schema, both ASTs. None: it would be too large."""
    kind = operation.operation.value
    data = _AnswerSchemas(schema, fragments).object(operation.selection_set, getattr(schema, f"{kind}_type"))
    made: JsonObject = {"type": "object", "properties": {"data": data, "errors": _ERRORS}}
    if kind == "subscription":
        end: JsonObject = {"type": "string", "description": "Why no more was read"}
        error: JsonObject = {"type": "object", "description": "What ended the stream"}
        messages: JsonObject = {"type": "array", "items": made}
        made = {"type": "object", "properties": {"messages": messages, "end": end, "error": error}}
    return made if len(json.dumps(made)) <= BUDGET else None


class _AnswerSchemas:
    def __init__(self, schema: Any, fragments: Mapping[str, Any]) -> None:
        self._schema = schema
        self._fragments = fragments

    def object(self, selection_set: Any, type_: Any) -> JsonObject:
        properties: JsonObject = {}
        self._collect(selection_set, type_, properties)
        return {"type": ["object", "null"], "properties": properties}

    def _collect(self, selection_set: Any, type_: Any, properties: JsonObject) -> None:
        for selection in selection_set.selections:
            if selection.kind == "field":
                name = selection.name.value
                key = selection.alias.value if selection.alias else name
                field = getattr(type_, "fields", {}).get(name)
                # Only __typename and the like is no field of a valid selection's type.
                made = {"type": ["string", "null"]} if field is None else self._value(field.type, selection)
                properties[key] = made if properties.get(key, made) == made else {}
                continue
            fragment = self._fragments[selection.name.value] if selection.kind == "fragment_spread" else selection
            condition = fragment.type_condition
            inner = type_ if condition is None else self._schema.type_map[condition.name.value]
            self._collect(fragment.selection_set, inner, properties)

    def _value(self, type_: Any, selection: Any) -> JsonObject:
        library = graphql()
        type_ = library.get_nullable_type(type_)
        if library.is_list_type(type_):
            return {"type": ["array", "null"], "items": self._value(type_.of_type, selection)}
        if library.is_composite_type(type_):
            return self.object(selection.selection_set, type_)
        if library.is_enum_type(type_):
            return {"type": ["string", "null"]}  # a value that the schema gains later must not cost the answer
        made = scalar(type_)
        # A custom scalar's format is an assumption about a foreign server, so answers are not held to it.
        if not library.is_specified_scalar_type(type_):
            return {}
        return {"type": ["string", "integer", "null"] if type_.name == "ID" else [made["type"], "null"]}
