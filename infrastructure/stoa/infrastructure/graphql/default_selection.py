"""The selection that a generated operation makes: leaves of the answer's type, then of the types below, within a budget
of depth and fields, so that an answer is useful and of a size that a model reads."""

from typing import Any

from stoa.infrastructure.graphql.schema_text import graphql

MAX_DEPTH = 3
"""Levels of objects; the levels of a connection (edges, node) count as one."""
MAX_FIELDS = 60
"""Leaves of one operation."""
_LEAVES = (25, 8, 4)
"""At most of one object, by its depth."""
MAX_POSSIBLE_TYPES = 6
"""Of an interface or union, with a fragment each."""
NOTHING = "{ __typename }"
"""The selection from a type of which nothing else can be selected."""
MAX_LISTS = 6
"""Most lists of an envelope; an object with more says too little about what is wanted of it."""


def default_selection(schema: Any, answer: Any) -> str:
    """A selection set with its braces for a field of the composite type `answer`."""
    library = graphql()
    selection, type_ = _Selection(schema), library.get_named_type(answer)
    if library.is_object_type(type_) and not library.is_list_type(library.get_nullable_type(answer)):
        return selection.of_single(type_)
    return selection.of(type_, 0, frozenset())


class _Selection:
    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._left = MAX_FIELDS

    def of(self, type_: Any, depth: int, above: frozenset[str]) -> str:
        library = graphql()
        if library.is_abstract_type(type_):
            return self._of_abstract(type_, depth, above)
        connection = connection_of(type_)
        if connection is not None:
            return self._of_connection(type_, connection, depth, above)
        parts = self._leaves(type_, depth) + self._objects(type_, depth, above)
        return f"{{ {' '.join(parts)} }}" if parts else NOTHING

    def of_single(self, type_: Any) -> str:
        """An answer that is one object. If it is an envelope, such as a page (`items`, `total`) or a payload
        (`userErrors`), it is nothing without the lists that it carries."""
        lists = {} if connection_of(type_) else _carried_lists(type_)
        if not lists:
            return self.of(type_, 0, frozenset())
        leaves = self._leaves(type_, 1)
        depth = 0 if len(lists) == 1 else 1
        carried = [f"{name} {self.of(inner, depth, frozenset({type_.name}))}" for name, inner in lists.items()]
        return f"{{ {' '.join([*leaves, *carried, *self._objects(type_, 0, frozenset())])} }}"

    def _leaves(self, type_: Any, depth: int) -> list[str]:
        library = graphql()
        names = [
            name
            for name, field in type_.fields.items()
            if library.is_leaf_type(library.get_named_type(field.type)) and _is_free(field)
        ]
        names.sort(key=lambda name: name != "id")  # the key first, whatever is cut off
        taken = names[: min(_LEAVES[min(depth, len(_LEAVES) - 1)], self._left)]
        self._left -= len(taken)
        return taken

    def _objects(self, type_: Any, depth: int, above: frozenset[str]) -> list[str]:
        if depth + 1 >= MAX_DEPTH:
            return []
        library = graphql()
        parts: list[str] = []
        for name, field in type_.fields.items():
            inner = library.get_named_type(field.type)
            if self._left <= 0:
                break
            # Lists of objects multiply, and a type within itself repeats: both are for the argument `fields`.
            is_wanted = library.is_composite_type(inner) and _is_free(field) and inner.name not in above | {type_.name}
            if not is_wanted or library.is_list_type(library.get_nullable_type(field.type)) or connection_of(inner):
                continue
            selection = self.of(inner, depth + 1, above | {type_.name})
            if selection != NOTHING or library.is_abstract_type(inner):  # which of its types it is says something
                parts.append(f"{name} {selection}")
        return parts

    def _of_connection(self, type_: Any, node_path: str, depth: int, above: frozenset[str]) -> str:
        """Relay Cursor Connections: the nodes, and how to go on."""
        library = graphql()
        above |= {type_.name}
        if node_path == "nodes":
            node = library.get_named_type(type_.fields["nodes"].type)
            inner = f"nodes {self.of(node, depth, above)}"
        else:
            edge = library.get_named_type(type_.fields["edges"].type)
            node = library.get_named_type(edge.fields["node"].type)
            selected = f" {self.of(node, depth, above)}" if library.is_composite_type(node) else ""
            inner = f"edges {{ node{selected} }}"
        count = " totalCount" if "totalCount" in type_.fields and _is_free(type_.fields["totalCount"]) else ""
        return f"{{ {inner} pageInfo {{ hasNextPage endCursor }}{count} }}"

    def _of_abstract(self, type_: Any, depth: int, above: frozenset[str]) -> str:
        library = graphql()
        parts = ["__typename"]
        shared: set[str] = set()
        if library.is_interface_type(type_):
            leaves = self._leaves(type_, depth)
            parts += leaves
            shared = set(leaves)
        # Where two types have a field of one name with different types, the selection would be invalid: it is left out.
        types_of: dict[str, str] = {name: str(type_.fields[name].type) for name in shared}
        # In the order of their names, because introspection of some servers has another order than their SDL.
        possible_types = sorted(self._schema.get_possible_types(type_), key=lambda each: str(each.name))
        for possible in possible_types[:MAX_POSSIBLE_TYPES]:
            # A type without leaves, as the outcomes of many mutations are, carries an object.
            wanted = self._leaves(possible, depth + 1) or self._objects(possible, depth, above | {type_.name})[:1]
            fields = [
                part
                for part in wanted
                if (name := part.partition(" ")[0]) not in shared
                and types_of.setdefault(name, str(possible.fields[name].type)) == str(possible.fields[name].type)
            ]
            if fields:
                parts.append(f"... on {possible.name} {{ {' '.join(fields)} }}")
        return f"{{ {' '.join(parts)} }}"


def _carried_lists(type_: Any) -> dict[str, Any]:
    """The lists of objects of an envelope, with the types of their entries. An object with an id is none: it stands for
    itself, and its lists are for the argument `fields`."""
    library = graphql()
    if "id" in type_.fields:
        return {}
    lists: dict[str, Any] = {}
    for name, field in type_.fields.items():
        entry = library.get_named_type(field.type)
        is_list = library.is_list_type(library.get_nullable_type(field.type))
        if is_list and library.is_composite_type(entry) and _is_free(field):
            lists[name] = entry
    return lists if len(lists) <= MAX_LISTS else {}


def connection_of(type_: Any) -> str | None:
    """`nodes` or `edges`: where the nodes of a connection are. None: the type is no connection."""
    library = graphql()
    if not library.is_object_type(type_) or "pageInfo" not in type_.fields:
        return None
    page = library.get_named_type(type_.fields["pageInfo"].type)
    if not {"hasNextPage", "endCursor"} <= set(getattr(page, "fields", {})):
        return None
    if "nodes" in type_.fields and library.is_composite_type(library.get_named_type(type_.fields["nodes"].type)):
        return "nodes"
    if "edges" in type_.fields:
        edge = library.get_named_type(type_.fields["edges"].type)
        return "edges" if "node" in getattr(edge, "fields", {}) else None
    return None


def _is_free(field: Any) -> bool:
    """Can be selected without arguments, and is not on its way out."""
    library = graphql()
    return field.deprecation_reason is None and not any(
        library.is_required_argument(argument) for argument in field.args.values()
    )
