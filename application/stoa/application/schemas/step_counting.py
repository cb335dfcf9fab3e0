"""Rewrites a schema so that validating with it counts the steps, with the same result.

A library's validator cannot be interrupted, but it calls custom keywords. Wherever a schema with subschemas, or a
reference, is applied, `allOf: [{COUNT: ...}, schema]` takes its place, so that the counting keyword comes first.
"""

from typing import Any

from stoa.application.schemas.validation_cost import is_weighed, weight
from stoa.domain.schema.json_pointer import child, fragment_of
from stoa.domain.schema.json_value import JsonObject, is_array, is_object, objects_in
from stoa.domain.schema.schema_document import SchemaDocument
from stoa.domain.schema.subschemas import DATA, KEYWORDS, LISTS, MAPS, REFERENCES, SINGLE, with_subschemas

COUNT = "x-stoa-count"
"""The counting keyword; its value is a `weight`."""


def counted(document: SchemaDocument) -> JsonObject:
    """The root of `document`, rewritten. It has to be valid against its meta-schema."""
    return _Rewriting(document).rewritten()


class _Rewriting:
    def __init__(self, document: SchemaDocument) -> None:
        self._document = document
        # A reference may lead to a place that no keyword makes a schema: what stands there is rewritten as well.
        self._targets = {
            id(self._document.target(schema, schema[keyword]))
            for schema in objects_in(document.root)
            for keyword in REFERENCES
            if isinstance(schema.get(keyword), str)
        }

    def rewritten(self) -> JsonObject:
        return self._schema(self._document.root)

    def _schema(self, schema: JsonObject) -> JsonObject:
        return {keyword: self._member(schema, keyword, value) for keyword, value in schema.items()}

    def _member(self, schema: JsonObject, keyword: str, value: Any) -> Any:
        if keyword in KEYWORDS:
            return with_subschemas(keyword, value, self._applied)
        if keyword in REFERENCES and isinstance(value, str):
            return self._moved(schema, value)
        return value if keyword in DATA else self._elsewhere(value)

    def _applied(self, schema: Any) -> Any:
        if not is_object(schema):
            return schema
        rewritten = self._schema(schema)
        return {"allOf": [{COUNT: weight(schema)}, rewritten]} if is_weighed(schema) else rewritten

    def _elsewhere(self, value: Any) -> Any:
        if is_object(value):
            if id(value) in self._targets:
                return self._schema(value)
            return {name: self._elsewhere(member) for name, member in value.items()}
        return [self._elsewhere(entry) for entry in value] if is_array(value) else value

    def _moved(self, schema: JsonObject, reference: str) -> str:
        """The reference to the same schema after rewriting: through each wrapping on its way."""
        path = self._document.path(schema, reference)
        if path is None or not path[1]:
            return reference
        node: Any = path[0]
        kind, is_wrapped = "schema", False
        moved: list[str] = []
        for token in path[1]:
            if is_wrapped:
                moved += ("allOf", "1")
            moved.append(token)
            node, kind = self._step(node, kind, token)
            is_wrapped = kind == "applied" and is_object(node) and is_weighed(node)
            kind = "schema" if kind == "applied" else kind
        # The last one stays outside of its wrapping: what the reference applies has to be counted as well.
        return f"{reference.partition('#')[0]}#{fragment_of(moved)}"

    def _step(self, node: Any, kind: str, token: str) -> tuple[Any, str]:
        """Follows one token: the node there, and its kind: a `schema`, a schema that is `applied`, a container of such
        (`many`), or another value."""
        below = child(node, token)
        if kind == "schema":
            if token in SINGLE and is_object(below):
                return below, "applied"
            if (token in LISTS and is_array(below)) or (token in MAPS and is_object(below)):
                return below, "many"
        elif kind == "many":
            return below, "applied"
        return below, "schema" if id(below) in self._targets else "other"
