"""Reads the XML Objects of a schema (OpenAPI 3.1 section 4.8.26) into the form of a body in XML."""

from typing import Any

from stoa.domain.operations.tool import XmlElement
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object
from stoa.infrastructure.openapi.joined_files import own_name
from stoa.infrastructure.openapi.references import References, Unresolvable

_DEPTH_LIMIT = 8
"""Levels of members; a recursive schema has hints this far, and plain elements below."""
_MEMBERS_LIMIT = 400


class XmlHints:
    def __init__(self, references: References) -> None:
        self._references = references
        self._room = _MEMBERS_LIMIT

    def root(self, schema: Any) -> XmlElement:
        """The root element of a body; its name is that of the component where the schema gives none."""
        self._room = _MEMBERS_LIMIT
        element = self._element(schema, 0)
        reference = as_text(as_object(schema).get("$ref"))
        return element if element.name else element.model_copy(update={"name": own_name(reference) or "root"})

    def _element(self, raw: Any, depth: int) -> XmlElement:
        schema = self._merged(raw, 0)
        hints = as_object(schema.get("xml"))
        self._room -= 1
        is_deep = depth >= _DEPTH_LIMIT or self._room < 0
        members = {} if is_deep else as_object(schema.get("properties"))
        node_type = as_text(hints.get("nodeType"))
        return XmlElement(
            name=as_text(hints.get("name")),
            namespace=as_text(hints.get("namespace")),
            prefix=as_text(hints.get("prefix")),
            is_attribute=hints.get("attribute") is True or node_type == "attribute",
            is_text=node_type in {"text", "cdata"},
            is_wrapped=hints.get("wrapped") is True or ("items" in schema and node_type == "element"),
            items=self._element(schema["items"], depth + 1) if "items" in schema and not is_deep else None,
            members={name: self._element(member, depth + 1) for name, member in members.items()},
        )

    def _merged(self, raw: Any, depth: int) -> JsonObject:
        """The schema with what it refers to and the members of its `allOf`."""
        try:
            target = self._references.follow(raw)
        except Unresolvable:
            return {}
        siblings = as_object(raw) if is_object(raw) and "$ref" in raw else {}
        schema = {**target, **{key: value for key, value in siblings.items() if key == "xml"}}
        members: JsonObject = {}
        for part in as_array(schema.get("allOf")) if depth < _DEPTH_LIMIT else ():
            below = self._merged(part, depth + 1)
            members |= as_object(below.get("properties"))
            schema = {**below, **schema}
        members |= as_object(schema.get("properties"))
        return {**schema, "properties": members} if members else schema
