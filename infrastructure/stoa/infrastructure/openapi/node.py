"""A normalised schema: JSON Schema 2020-12 in which a `$ref` to a component of the document is a `Reference`.

It has a type of its own, because data in a schema (`default`, `enum`, `examples`) may hold a member `$ref` that refers
to nothing.
"""

from dataclasses import dataclass, field
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_text, is_array

ANNOTATIONS = frozenset({"title", "description", "default", "deprecated", "examples"})
"""Keywords that constrain nothing."""
_NULL = {"type": "null"}


@dataclass(frozen=True, slots=True)
class Reference:
    """A use of a component. `siblings` are the keywords next to its `$ref`."""

    pointer: str
    siblings: JsonObject = field(default_factory=dict[str, Any])


Node = JsonObject | Reference


def described_node(node: Node, description: str) -> Node:
    """The node with this description, which wins over the schema's own."""
    if not description:
        return node
    if isinstance(node, Reference):
        return Reference(node.pointer, {**node.siblings, "description": description})
    return {**node, "description": description}


def description_of(node: Node) -> str:
    return as_text((node.siblings if isinstance(node, Reference) else node).get("description"))


def without_null(node: Node) -> Node:
    """The node without the alternative of null, where it has another one."""
    if isinstance(node, Reference):
        return node
    kept = {key: value for key, value in node.items() if not (key == "default" and value is None)}
    types = kept.get("type")
    if is_array(types) and len(types) > 1 and "null" in types:
        others = [name for name in types if name != "null"]
        kept["type"] = others[0] if len(others) == 1 else others
        if "enum" in kept:
            kept["enum"] = [value for value in kept["enum"] if value is not None]
    branches = kept.get("anyOf")
    if not is_array(branches) or len(branches) < 2 or _NULL not in branches:
        return kept
    remaining = [branch for branch in branches if branch != _NULL]
    if len(remaining) > 1:
        return {**kept, "anyOf": remaining}
    del kept["anyOf"]
    only: Node = remaining[0]
    if kept.keys() - ANNOTATIONS:
        return {**kept, "allOf": [only]}
    return Reference(only.pointer, {**only.siblings, **kept}) if isinstance(only, Reference) else {**only, **kept}
