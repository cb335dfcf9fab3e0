"""The members of a schema that, through references and `allOf`, is one object with plain members."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.openapi.node import ANNOTATIONS, Node, Reference

_PART_OF_A_PLAIN_OBJECT = ANNOTATIONS | {"type", "properties", "required", "additionalProperties", "allOf"}
_BRANCH_OF_REQUIRED = ANNOTATIONS | {"type", "required"}
_TOGETHER = (
    frozenset({"properties", "patternProperties", "additionalProperties", "unevaluatedProperties"}),
    frozenset({"items", "prefixItems", "unevaluatedItems"}),
    frozenset({"contains", "minContains", "maxContains"}),
    frozenset({"if", "then", "else"}),
)
"""Keywords whose meaning depends on each other: those of two schemas must not be mixed."""


class Components(Protocol):
    """The normalised schemas behind References."""

    def component(self, pointer: str) -> Node: ...


@dataclass(slots=True)
class ObjectMembers:
    """The members of an object. `is_open`: others are described too; `has_conditions`: not all go together."""

    properties: dict[str, Node] = field(default_factory=dict[str, Any])
    required: list[str] = field(default_factory=list[str])
    is_open: bool = False
    is_closed: bool = False
    """True if the description says that there are no others."""
    is_nullable: bool = False
    """True if null may stand instead of the object."""
    conditions: list[JsonObject] = field(default_factory=list[Any])
    """Keywords that say which members go together, or how many."""

    @property
    def has_conditions(self) -> bool:
        return bool(self.conditions)


def object_members(node: Node, components: Components) -> ObjectMembers | None:
    """The members of the object that `node` describes; None: not an object, or not one with named members only."""
    members = ObjectMembers(is_nullable=True)
    if not _collect(node, members, components, set()):
        return None
    members.required = list(dict.fromkeys(members.required))
    return members


def members_of_alternatives(node: Node, components: Components) -> ObjectMembers | None:
    """The members that the alternatives of `node` have together, those of all of them required; None if an alternative
    is no object with named members. Null is not counted."""
    alternatives: list[ObjectMembers] = []
    waiting, seen = [node], set[str]()
    while waiting:
        branch = waiting.pop(0)
        if isinstance(branch, Reference) and not branch.siblings:
            if branch.pointer in seen:
                continue
            seen.add(branch.pointer)
            branch = components.component(branch.pointer)
        if is_object(branch) and "anyOf" in branch and branch.keys() <= ANNOTATIONS | {"anyOf"}:
            waiting += [inner for inner in branch["anyOf"] if inner != {"type": "null"}]
            continue
        members = object_members(branch, components)
        if members is None:
            return None
        alternatives.append(members)
    if not alternatives:
        return None
    together = ObjectMembers(required=list(alternatives[0].required))
    described: dict[str, list[Node]] = {}
    for members in alternatives:
        together.required = [name for name in together.required if name in members.required]
        for name, schema in members.properties.items():
            schemas = described.setdefault(name, [])
            if schema not in schemas:
                schemas.append(schema)
    together.properties = {
        name: schemas[0] if len(schemas) == 1 else {"anyOf": schemas} for name, schemas in described.items()
    }
    return together


def joined(first: Node, second: Node) -> Node:
    """One schema for a member that two schemas describe."""
    if first == second or not second:
        return first
    if not first:
        return second
    if is_object(first) and is_object(second) and can_mix(first, second):
        return mixed(first, second)
    return {"allOf": [first, second]}


def mixed(first: JsonObject, second: JsonObject) -> JsonObject:
    """One object with the keywords of two schemas that can be mixed; notes of the second win."""
    schema: JsonObject = {**first, **second}
    if "enum" in first and "enum" in second:
        schema["enum"] = [value for value in first["enum"] if value in second["enum"]]
    if "required" in first and "required" in second:
        schema["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    return schema


def can_mix(first: JsonObject, second: JsonObject) -> bool:
    """True if the keywords of two schemas mean together what each means alone."""
    for keyword in first.keys() & second.keys():
        if keyword == "enum":
            if not any(value in second["enum"] for value in first["enum"]):
                return False
        elif keyword != "required" and keyword not in ANNOTATIONS and first[keyword] != second[keyword]:
            return False
    return not any(group & first.keys() and group & second.keys() for group in _TOGETHER)


def _collect(node: Node, members: ObjectMembers, components: Components, seen: set[str]) -> bool | None:
    """Collects members; returns None if `node` is not a plain object, else whether it has any `properties`."""
    if isinstance(node, Reference):
        if node.pointer in seen:
            return False  # its members are here already
        seen.add(node.pointer)
        below = _collect(components.component(node.pointer), members, components, seen)
        sibling_members = _collect(node.siblings, members, components, seen)
        return None if below is None or sibling_members is None else below or sibling_members
    if not _is_plain(node, members):
        return None
    names_members = "properties" in node
    for branch in node.get("allOf", ()):
        below = _collect(branch, members, components, seen)
        if below is None:
            return None
        names_members = names_members or below
    for name, schema in node.get("properties", {}).items():
        members.properties[name] = joined(members.properties.get(name, {}), schema)
    members.required += node.get("required", ())
    for keyword in ("additionalProperties", "unevaluatedProperties"):
        if keyword in node:
            is_refused = node[keyword] in (False, {"not": {}})
            members.is_closed = members.is_closed or is_refused
            members.is_open = members.is_open or not (
                is_refused or (keyword == "unevaluatedProperties" and not node[keyword])
            )
    return names_members


def _is_plain(node: dict[str, Any], members: ObjectMembers) -> bool:
    types = node.get("type", "object")
    if types != "object" and set(types) != {"object", "null"}:
        return False
    members.is_nullable = members.is_nullable and (types != "object" or "type" not in node)
    others = node.keys() - _PART_OF_A_PLAIN_OBJECT - {"unevaluatedProperties"}
    if not all(_is_condition(key, node[key]) for key in others):
        return False
    if others:
        members.conditions.append({key: node[key] for key in node if key in others})
    return True


def _is_condition(key: str, value: Any) -> bool:
    """True if a keyword only says which members go together."""
    if key in {"anyOf", "oneOf"}:
        return all(_only_requires(branch) for branch in value)
    return key in {"minProperties", "maxProperties", "dependentRequired"}


def _only_requires(branch: Node) -> bool:
    return not isinstance(branch, Reference) and "required" in branch and branch.keys() <= _BRANCH_OF_REQUIRED
