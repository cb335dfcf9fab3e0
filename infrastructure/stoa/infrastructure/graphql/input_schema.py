"""Input types of GraphQL as JSON Schema 2020-12 (GraphQL, sections 3.5 to 3.12)."""

import json
from typing import Any

from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.graphql.schema_text import graphql

BUDGET = 24 * 1024
"""Bytes of the definitions of one tool; input types beyond it accept any object."""
TEXT_LIMIT = 300

SCALARS: dict[str, JsonObject] = {
    "Int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "Float": {"type": "number"},
    "String": {"type": "string"},
    "ID": {"type": "string"},
    "Boolean": {"type": "boolean"},
}
_FORMATS: dict[str, JsonObject] = {
    "DateTime": {"type": "string", "format": "date-time"},
    "Date": {"type": "string", "format": "date"},
    "URI": {"type": "string"},
    "URL": {"type": "string"},
    "UUID": {"type": "string", "format": "uuid"},
}
"""Custom scalars whose name says what JSON they are; only where they are sent, and with formats as annotations."""


class InputSchemas:
    """Schemas for the variables of one tool, with the input objects that they lead to as definitions."""

    def __init__(self) -> None:
        self._definitions: dict[str, JsonObject] = {}
        self._waiting: list[Any] = []
        self._bytes = 0
        self.is_complete = True
        """False: an input object was too large to describe."""

    def of(self, type_: Any, *, description: str = "", default: Any = None) -> JsonObject:
        """The schema of a value of this type; `default` is the AST of a value, or None."""
        schema = self._schema(type_)
        if description:
            schema = {**schema, "description": one_line(description)}
        if default is not None:
            schema = {**schema, "default": value_of(default)}
        return schema

    def definitions(self) -> JsonObject:
        """Of everything that `of` referred to."""
        made: JsonObject = {}
        # Breadth first: with a budget, what is near the arguments is described and what is far is not.
        while self._waiting:
            type_ = self._waiting.pop(0)
            definition: JsonObject = {"type": "object"}
            if self._bytes <= BUDGET:
                definition = self._object(type_)
                self._bytes += len(json.dumps(definition))
            else:
                self.is_complete = False
            made[type_.name] = definition
        return made

    def _schema(self, type_: Any) -> JsonObject:
        """Of a type that may be null, which only a Non-Null type may not (section 3.12)."""
        library = graphql()
        if library.is_non_null_type(type_):
            return self._not_null(type_.of_type)
        schema = self._not_null(type_)
        if "$ref" in schema:
            return {"anyOf": [schema, {"type": "null"}]}
        if "enum" in schema:
            schema = {**schema, "enum": [*schema["enum"], None]}
        return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema

    def _not_null(self, type_: Any) -> JsonObject:
        library = graphql()
        if library.is_list_type(type_):
            return {"type": "array", "items": self._schema(type_.of_type)}
        if library.is_enum_type(type_):
            return _enum(type_)
        if library.is_input_object_type(type_):
            if type_.name not in self._definitions:
                self._definitions[type_.name] = {}
                self._waiting.append(type_)
            return {"$ref": f"#/$defs/{type_.name}"}
        return scalar(type_)

    def _object(self, type_: Any) -> JsonObject:
        library = graphql()
        properties: JsonObject = {}
        required: list[str] = []
        for name, field in type_.fields.items():
            default = field.ast_node.default_value if field.ast_node else None
            text = deprecated(field.description, field.deprecation_reason)
            field_type = library.GraphQLNonNull(field.type) if type_.is_one_of else field.type
            properties[name] = self.of(field_type, description=text, default=default)
            if library.is_non_null_type(field.type) and default is None:
                required.append(name)
        schema: JsonObject = {"type": "object", "properties": properties, "additionalProperties": False}
        if required:
            schema["required"] = required
        if type_.is_one_of:  # exactly one member, which is not null (section 3.10.1)
            schema |= {"minProperties": 1, "maxProperties": 1}
        if type_.description:
            schema["description"] = one_line(type_.description)
        return schema


def scalar(type_: Any) -> JsonObject:
    """A built-in scalar, or one of the service's own, which may be any JSON."""
    built_in = SCALARS.get(type_.name)
    if built_in is not None:
        return dict(built_in)
    texts = [f"Scalar {type_.name}", type_.description or "", getattr(type_, "specified_by_url", None) or ""]
    return {**_FORMATS.get(type_.name, {}), "description": one_line(". ".join(text for text in texts if text))}


def _enum(type_: Any) -> JsonObject:
    texts = [
        f"{name}: {deprecated(value.description, value.deprecation_reason)}" for name, value in type_.values.items()
    ]
    described = [text for text in texts if not text.endswith(": ")]
    schema: JsonObject = {"type": "string", "enum": [*type_.values]}
    text = " ".join([type_.description or "", *(one_line(text, 120) for text in described)]).strip()
    return {**schema, "description": one_line(text, 2 * TEXT_LIMIT)} if text else schema


def value_of(node: Any) -> Any:
    """The JSON value of a constant in a document; an enum value is its name."""
    return graphql().value_from_ast_untyped(node)


def deprecated(description: str | None, reason: str | None) -> str:
    """The description, with the deprecation first where there is one (section 3.13.3)."""
    return " ".join(filter(None, ["" if reason is None else f"Deprecated: {reason}", description]))


def one_line(text: str, limit: int = TEXT_LIMIT) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"
