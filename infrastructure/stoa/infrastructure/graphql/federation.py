"""Schemas of Apollo Federation, subgraphs and supergraphs, read as the schema that clients see."""

from typing import Any

MACHINERY = frozenset({"_entities", "_service"})
"""Root fields of a subgraph for routers, not for clients (Apollo Federation, "Subgraph specification")."""
_HIDDEN = "inaccessible"
_LISTS = ("fields", "arguments", "values", "types", "interfaces")
"""Members of definitions that hold what may be hidden, or name it."""


def api_schema(document: Any, library: Any) -> Any:
    """The `graphql.DocumentNode` without what `@inaccessible` hides, because routers refuse it. Extensions of types
    that are defined elsewhere become their definitions: subgraphs are written so (`extend type Query`)."""
    hidden = {node.name.value for node in document.definitions if getattr(node, "name", None) and _is_marked(node)}
    defined = {node.name.value for node in document.definitions if node.kind.endswith("_type_definition")}
    definitions: list[Any] = []
    for node in document.definitions:
        if getattr(node, "name", None) is not None and node.name.value in hidden:
            continue
        shown = _shown(node, hidden)
        if node.kind.endswith("_type_extension") and node.name.value not in defined:
            defined.add(node.name.value)
            base = getattr(library, type(node).__name__.replace("Extension", "Definition"))
            shown = base(**{key: getattr(shown, key, None) for key in shown.keys if key != "kind"})
        definitions.append(shown)
    return library.DocumentNode(definitions=tuple(definitions), loc=document.loc)


def _shown(node: Any, hidden: set[str]) -> Any:
    """The node itself where nothing of it is hidden."""
    changes: dict[str, Any] = {}
    for member in _LISTS:
        listed = getattr(node, member, None) or ()
        shown = tuple(_shown(each, hidden) for each in listed if not (_is_marked(each) or _type_name(each) in hidden))
        if len(shown) < len(listed) or any(new is not old for new, old in zip(shown, listed, strict=True)):
            changes[member] = shown
    if not changes:
        return node
    return type(node)(**{key: getattr(node, key, None) for key in node.keys if key != "kind"} | changes)


def _is_marked(node: Any) -> bool:
    return any(directive.name.value == _HIDDEN for directive in getattr(node, "directives", None) or ())


def _type_name(node: Any) -> str | None:
    """The name of the type that a field or an argument has, or that a member of a union or an interface is."""
    type_ = node if node.kind == "named_type" else getattr(node, "type", None)
    while type_ is not None and type_.kind != "named_type":
        type_ = type_.type
    return None if type_ is None else type_.name.value
