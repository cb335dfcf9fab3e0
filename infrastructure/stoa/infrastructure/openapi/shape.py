"""Sees through references and allOf whether a schema is one object with plain members."""

from dataclasses import dataclass, field
from typing import Any

from stoa.infrastructure.openapi.schema import ANNOTATIONS, Node, Reference, SchemaNormaliser

_PART_OF_A_PLAIN_OBJECT = ANNOTATIONS | {"type", "properties", "required", "additionalProperties", "allOf"}
_BRANCH_OF_REQUIRED = ANNOTATIONS | {"type", "required"}


@dataclass(slots=True)
class Shape:
    """The members of an object. `is_open`: others are described too; `has_conditions`: not all go together."""

    properties: dict[str, Node] = field(default_factory=dict[str, Any])
    required: list[str] = field(default_factory=list[str])
    is_open: bool = False
    has_conditions: bool = False


def shape_of(node: Node, schemas: SchemaNormaliser) -> Shape | None:
    """The members of the object that `node` describes; None: not an object, or not one with named members only."""
    shape = Shape()
    if not _collect(node, shape, schemas, set()):
        return None
    shape.required = list(dict.fromkeys(shape.required))
    return shape


def _collect(node: Node, shape: Shape, schemas: SchemaNormaliser, seen: set[str]) -> bool | None:
    """None: not a plain object; else whether any `properties` were seen."""
    if isinstance(node, Reference):
        if node.pointer in seen:
            return False  # its members are here already
        seen.add(node.pointer)
        below = _collect(schemas.component(node.pointer), shape, schemas, seen)
        beside = _collect(node.siblings, shape, schemas, seen)
        return None if below is None or beside is None else below or beside
    if not _is_plain(node, shape):
        return None
    names_members = "properties" in node
    for branch in node.get("allOf", ()):
        below = _collect(branch, shape, schemas, seen)
        if below is None:
            return None
        names_members = names_members or below
    for name, schema in node.get("properties", {}).items():
        known = shape.properties.get(name)
        shape.properties[name] = schema if known is None or known == schema else {"allOf": [known, schema]}
    shape.required += node.get("required", ())
    shape.is_open = shape.is_open or node.get("additionalProperties", False) is not False
    return names_members


def _is_plain(node: dict[str, Any], shape: Shape) -> bool:
    types = node.get("type", "object")
    if types != "object" and set(types) != {"object", "null"}:
        return False
    others = node.keys() - _PART_OF_A_PLAIN_OBJECT
    shape.has_conditions = shape.has_conditions or bool(others)
    return all(_is_condition(key, node[key]) for key in others)


def _is_condition(key: str, value: Any) -> bool:
    """Does it only say which members go together?"""
    if key in {"anyOf", "oneOf"}:
        return all(_only_requires(branch) for branch in value)
    return key in {"minProperties", "maxProperties", "dependentRequired"}


def _only_requires(branch: Node) -> bool:
    return not isinstance(branch, Reference) and "required" in branch and branch.keys() <= _BRANCH_OF_REQUIRED
