"""Writes what discriminators and closed parts mean as plain schemas: alternatives whose property has fixed values, and
objects that are closed over the members of all of their parts.

The functions work on normalised nodes and look one level into components; `object_members` goes on from there.
"""

from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_object, is_object
from stoa.infrastructure.openapi.node import ANNOTATIONS, Node, Reference
from stoa.infrastructure.openapi.object_members import Components, ObjectMembers, object_members

_NOTES = ANNOTATIONS - {"default", "examples"}
_DEPTH = 8
_JOINING = frozenset({"allOf", "anyOf", "not", "if"})
_CLOSING = frozenset({"additionalProperties", "unevaluatedProperties"})


def tagged(node: Node, name: str, values: list[str], components: Components) -> Node:
    """The node with these values alone for the property `name`."""
    members = object_members(node, components)
    if members is None or members.is_open:
        plain = _seen_through(node, components)
        if plain.get("type") != "object" or not _JOINING.isdisjoint(plain):
            return {"allOf": [node, {"type": "object", "properties": {name: _tag({}, values)}}]}
        own = as_object(plain.get("properties"))
        tag = _tag(_seen_through(own.get(name, {}), components), values)
        return {**plain, "properties": {**own, name: tag}}
    declared = _seen_through(members.properties.get(name, {}), components)
    tag = _tag(declared, values)
    if name in members.properties:
        members.properties[name] = tag
    else:
        members.properties = {name: tag, **members.properties}
    return _object(members, node, components)


def closed_over_parts(node: Node, components: Components) -> Node:
    """The object of several parts of which one is closed: closed over the members of all parts. Where the parts are not
    plain objects, it is open: no part may refuse the members of another."""
    members = object_members(node, components)
    if members is None or members.is_open:
        return opened(node, components, 0)
    members.is_closed = True
    return _object(members, node, components)


def opened(node: Node, components: Components, depth: int) -> Node:
    """The node without `additionalProperties: false` and `unevaluatedProperties: false` in itself and its parts."""
    if depth > _DEPTH:
        return {}
    if isinstance(node, Reference):
        target = components.component(node.pointer)
        siblings = opened(node.siblings, components, depth)
        if not _is_closed(target, components, depth):
            return Reference(node.pointer, as_object(siblings))
        inner = opened(target, components, depth + 1)
        return {"allOf": [inner], **as_object(siblings)} if siblings else inner
    plain = {key: value for key, value in node.items() if not (key in _CLOSING and value is False)}
    for keyword in ("allOf", "anyOf"):
        if keyword in plain:
            plain[keyword] = [opened(part, components, depth + 1) for part in plain[keyword]]
    return plain


def _is_closed(node: Node, components: Components, depth: int) -> bool:
    if depth > _DEPTH:
        return True
    if isinstance(node, Reference):
        return _is_closed(components.component(node.pointer), components, depth + 1)
    if any(node.get(keyword) is False for keyword in _CLOSING):
        return True
    parts = (*node.get("allOf", ()), *node.get("anyOf", ()))
    return any(_is_closed(part, components, depth + 1) for part in parts)


def _object(members: ObjectMembers, node: Node, components: Components) -> JsonObject:
    schema: JsonObject = {key: value for key, value in _notes(node, components).items() if key in _NOTES}
    schema["type"] = ["object", "null"] if members.is_nullable else "object"
    schema["properties"] = members.properties
    if members.required:
        schema["required"] = members.required
    if members.is_closed:
        schema["additionalProperties"] = False
    for condition in members.conditions:
        if schema.keys().isdisjoint(condition):
            schema |= condition
        else:
            schema.setdefault("allOf", []).append(condition)
    return schema


def _notes(node: Node, components: Components) -> JsonObject:
    if not isinstance(node, Reference):
        return node
    return {**_seen_through(node, components), **node.siblings}


def _tag(declared: JsonObject, values: list[str]) -> JsonObject:
    """The schema of a property with fixed values, of the type that it is declared with."""
    if declared.get("type") == "integer" and all(value.lstrip("-").isdigit() for value in values):
        return {**_without_values(declared), "enum": [int(value) for value in values]}
    return {**_without_values(declared), "type": "string", "enum": list(values)}


def _without_values(declared: JsonObject) -> JsonObject:
    kept = ANNOTATIONS | {"type"}
    return {key: value for key, value in declared.items() if key in kept and key not in {"default", "examples"}}


def _seen_through(node: Any, components: Components) -> JsonObject:
    for _ in range(_DEPTH):
        if not isinstance(node, Reference):
            return node if is_object(node) else {}
        node = components.component(node.pointer)
    return {}
