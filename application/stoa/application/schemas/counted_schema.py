"""A schema rewritten so that a check against it counts its steps, and says the same as before.

A library's validator cannot be interrupted, but it asks a keyword of ours: wherever a schema with schemas of its own,
or a reference, is applied, `allOf: [{COUNT: ...}, schema]` stands instead, and what counts comes first.
"""

from typing import Any

from stoa.application.schemas.schema_nodes import LISTS, MAPS, REFERENCES, SINGLE, Document, below, subschemas
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object

COUNT = "x-stoa-count"
_VALUES = frozenset({"enum", "const", "default", "examples", "example"})


def counted(root: JsonObject) -> JsonObject:
    """`root` rewritten."""
    return _Rewriting(root).rewritten()


class _Rewriting:
    def __init__(self, root: JsonObject) -> None:
        self._document = Document(root)
        self._targets: set[int] = set()
        self._collect(root)

    def rewritten(self) -> JsonObject:
        return self._schema(self._document.root)

    def _collect(self, root: JsonObject) -> None:
        """Note what references lead to: also outside of all keywords a schema may stand."""
        waiting: list[Any] = [root]
        while waiting:
            node = waiting.pop()
            if is_array(node):
                waiting += node
            elif is_object(node):
                waiting += node.values()
                for keyword in REFERENCES:
                    reference = node.get(keyword)
                    if isinstance(reference, str):
                        self._targets.add(id(self._document.target(node, reference)))

    def _schema(self, schema: JsonObject) -> JsonObject:
        return {keyword: self._member(schema, keyword, value) for keyword, value in schema.items()}

    def _member(self, schema: JsonObject, keyword: str, value: Any) -> Any:
        if keyword in SINGLE and is_object(value):
            return self._applied(value)
        if keyword in LISTS and is_array(value):
            return [self._applied(one) for one in value]
        if keyword in MAPS and is_object(value):
            return {name: self._applied(one) for name, one in value.items()}
        if keyword in REFERENCES and isinstance(value, str):
            return self._moved(schema, value)
        return value if keyword in _VALUES else self._elsewhere(value)

    def _applied(self, schema: Any) -> Any:
        if not is_object(schema):
            return schema
        made = self._schema(schema)
        return {"allOf": [{COUNT: weight(schema)}, made]} if is_weighed(schema) else made

    def _elsewhere(self, value: Any) -> Any:
        if is_object(value):
            if id(value) in self._targets:
                return self._schema(value)
            return {name: self._elsewhere(one) for name, one in value.items()}
        return [self._elsewhere(one) for one in value] if is_array(value) else value

    def _moved(self, schema: JsonObject, reference: str) -> str:
        """The reference to the same schema after rewriting."""
        found = self._document.parts(schema, reference)
        if found is None or not found[1]:
            return reference
        node: Any = found[0]
        kind, moved = "schema", ""
        address, _, pointer = reference.partition("#")
        for written, token in zip(pointer.split("/")[1:], found[1], strict=True):
            moved += f"/{written}"
            node, kind = _step(node, kind, token, self._targets)
            if kind == "applied":
                kind = "schema"
                if is_object(node) and is_weighed(node):
                    moved += "/allOf/1"
        # A reference to a schema that is wrapped leads to the wrapping: it counts as well.
        return f"{address}#{moved.removesuffix('/allOf/1')}"


def _step(node: Any, kind: str, part: str, targets: set[int]) -> tuple[Any, str]:
    """One token further: the node there, and whether it is a `schema`, a schema that is `applied`, a container of such
    (`many`), or something else."""
    found = below(node, part)
    if kind == "schema":
        if part in SINGLE and is_object(found):
            return found, "applied"
        if (part in LISTS and is_array(found)) or (part in MAPS and is_object(found)):
            return found, "many"
    elif kind == "many":
        return found, "applied"
    return found, "schema" if id(found) in targets else "other"


def is_weighed(schema: JsonObject) -> bool:
    """Are its applications counted? Not where it has neither schemas below, nor references, nor much to compare."""
    return bool(next(subschemas(schema), None) or any(keyword in schema for keyword in REFERENCES) or _compared(schema))


def weight(schema: JsonObject) -> JsonObject:
    """How much one application costs for each entry of the value, without the schemas that are counted by themselves;
    and the patterns that each name is matched with."""
    names = as_object(schema.get("patternProperties"))
    return {"weight": 1 + sum(1 for _ in subschemas(schema)) + _compared(schema), "names": list(names)}


def _compared(schema: JsonObject) -> int:
    options = schema.get("enum")
    return sum(1 for one in options if isinstance(one, (dict, list))) if is_array(options) else 0
