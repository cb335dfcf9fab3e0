"""A normalised schema: JSON Schema 2020-12 in which a `$ref` to a component of the document is a `Reference`.

It has a type of its own, because data in a schema (`default`, `enum`, `examples`) may hold a member `$ref` that refers
to nothing.
"""

from dataclasses import dataclass, field
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_text

ANNOTATIONS = frozenset({"title", "description", "default", "deprecated", "examples"})
"""Keywords that constrain nothing."""


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
