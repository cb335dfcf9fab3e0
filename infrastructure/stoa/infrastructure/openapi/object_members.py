"""The members of a schema that, through references and `allOf`, is one object with plain members."""

from dataclasses import dataclass, field
from typing import Any

from stoa.infrastructure.openapi.node import ANNOTATIONS, Node, Reference
from stoa.infrastructure.openapi.schema import SchemaNormaliser

_PART_OF_A_PLAIN_OBJECT = ANNOTATIONS | {"type", "properties", "required", "additionalProperties", "allOf"}
_BRANCH_OF_REQUIRED = ANNOTATIONS | {"type", "required"}


@dataclass(slots=True)
class ObjectMembers:
    """The members of an object. `is_open`: others are described too; `has_conditions`: not all go together."""

    properties: dict[str, Node] = field(default_factory=dict[str, Any])
    required: list[str] = field(default_factory=list[str])
    is_open: bool = False
    has_conditions: bool = False


def object_members(node: Node, schemas: SchemaNormaliser) -> ObjectMembers | None:
    """The members of the object that `node` describes; None: not an object, or not one with named members only."""
    members = ObjectMembers()
    if not _collect(node, members, schemas, set()):
        return None
    members.required = list(dict.fromkeys(members.required))
    return members


def _collect(node: Node, members: ObjectMembers, schemas: SchemaNormaliser, seen: set[str]) -> bool | None:
    """Collects members; returns None if `node` is not a plain object, else whether it has any `properties`."""
    if isinstance(node, Reference):
        if node.pointer in seen:
            return False  # its members are here already
        seen.add(node.pointer)
        below = _collect(schemas.component(node.pointer), members, schemas, seen)
        sibling_members = _collect(node.siblings, members, schemas, seen)
        return None if below is None or sibling_members is None else below or sibling_members
    if not _is_plain(node, members):
        return None
    names_members = "properties" in node
    for branch in node.get("allOf", ()):
        below = _collect(branch, members, schemas, seen)
        if below is None:
            return None
        names_members = names_members or below
    for name, schema in node.get("properties", {}).items():
        earlier = members.properties.get(name)
        members.properties[name] = schema if earlier is None or earlier == schema else {"allOf": [earlier, schema]}
    members.required += node.get("required", ())
    members.is_open = members.is_open or node.get("additionalProperties", False) is not False
    return names_members


def _is_plain(node: dict[str, Any], members: ObjectMembers) -> bool:
    types = node.get("type", "object")
    if types != "object" and set(types) != {"object", "null"}:
        return False
    others = node.keys() - _PART_OF_A_PLAIN_OBJECT
    members.has_conditions = members.has_conditions or bool(others)
    return all(_is_condition(key, node[key]) for key in others)


def _is_condition(key: str, value: Any) -> bool:
    """True if a keyword only says which members go together."""
    if key in {"anyOf", "oneOf"}:
        return all(_only_requires(branch) for branch in value)
    return key in {"minProperties", "maxProperties", "dependentRequired"}


def _only_requires(branch: Node) -> bool:
    return not isinstance(branch, Reference) and "required" in branch and branch.keys() <= _BRANCH_OF_REQUIRED
