"""A selection that a caller writes: what may be selected, and the check of what is (GraphQL, section 2.4).

The check needs no schema: the binding carries the types that may be selected from, breadth first within a budget. The
text that is sent is printed anew from what was understood, never the caller's own.
"""

from collections.abc import Iterator
from typing import Any

from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.infrastructure.graphql.binding import Selectable, SelectableField, SelectableType
from stoa.infrastructure.graphql.default_selection import connection_of
from stoa.infrastructure.graphql.schema_text import check_depth, graphql

BUDGET = 8 * 1024
"""Characters of names that one binding carries."""
MAX_TEXT = 4096
"""Characters of a selection."""
MAX_DEPTH = 8
MAX_FIELDS = 200
MAX_COST = 20_000
"""Fields that the answer may have, where each list multiplies by the `first`, `last` or `limit` that was given."""
ASSUMED_LIST = 10
"""Entries of a list whose length is not said."""

_SIZES = frozenset({"first", "last", "limit"})
_SCALARS = {
    "Int": ("int_value",),
    "Float": ("float_value", "int_value"),
    "String": ("string_value",),
    "ID": ("string_value", "int_value"),
    "Boolean": ("boolean_value",),
}


def selectable_from(schema: Any, type_: Any) -> Selectable:
    """The types below `type_`, the nearest first, until the budget is spent."""
    library = graphql()
    waiting, named = [type_], {type_.name}
    types: dict[str, SelectableType] = {}
    spent = 0
    while waiting:
        current = waiting.pop(0)
        possible = tuple(schema.get_possible_types(current)) if library.is_abstract_type(current) else ()
        page = connection_of(current)  # its length is that of the connection, which counts already
        fields = {
            name: made
            for name, field in getattr(current, "fields", {}).items()
            if (made := _selectable_field(field, is_page=name == page)) is not None
        }
        spent += sum(len(name) + 8 + sum(map(len, field.arguments)) for name, field in fields.items())
        if types and spent > BUDGET:
            break
        types[current.name] = SelectableType(
            fields=fields, possible_types=tuple(sorted(each.name for each in possible))
        )
        for inner in [*(schema.type_map[field.type] for field in fields.values() if field.type), *possible]:
            if inner.name not in named:
                named.add(inner.name)
                waiting.append(inner)
    return Selectable(root=type_.name, types={name: _within(type_, types) for name, type_ in types.items()})


def _within(type_: SelectableType, types: dict[str, SelectableType]) -> SelectableType:
    """Without fields of types that the budget left out."""
    fields = {name: field for name, field in type_.fields.items() if field.type is None or field.type in types}
    return SelectableType(fields=fields, possible_types=tuple(name for name in type_.possible_types if name in types))


def _selectable_field(field: Any, *, is_page: bool) -> SelectableField | None:
    """None: it has an argument that must be given and that a selection cannot give."""
    library = graphql()
    arguments: dict[str, str] = {}
    for name, argument in field.args.items():
        if library.get_named_type(argument.type).name in _SCALARS and str(argument.type).count("[") < 2:
            arguments[name] = str(argument.type)
        elif library.is_required_argument(argument):
            return None
        if name in arguments and arguments[name].endswith("!") and not library.is_required_argument(argument):
            arguments[name] = arguments[name][:-1]  # it has a default
    named = library.get_named_type(field.type)
    is_composite = library.is_composite_type(named)
    return SelectableField(
        type=named.name if is_composite else None,
        is_list=not is_page and ("[" in str(field.type) or connection_of(named) is not None),
        arguments=arguments,
    )


def checked_selection(text: str, selectable: Selectable, argument: str) -> str:
    """The selection set, with braces, that `text` stands for; `text` may come without them. Raises InvalidArguments."""
    try:
        return _Check(selectable).printed(text)
    except InvalidInput as refused:
        raise InvalidArguments([Violation(f"/{argument}", refused.message)]) from None


class _Check:
    def __init__(self, selectable: Selectable) -> None:
        self._types = selectable.types
        self._root = selectable.root
        self._fields = 0
        self._cost = 0

    def printed(self, text: str) -> str:
        library = graphql()
        text = text.strip()
        if len(text) > MAX_TEXT:
            raise InvalidInput(f"at most {MAX_TEXT} characters")
        text = text if text.startswith("{") else f"{{ {text} }}"
        check_depth(text, "selection", MAX_DEPTH * 2)
        try:
            document = library.parse(text, no_location=True, max_tokens=4 * MAX_FIELDS)
        except library.GraphQLError as caught:
            reason = caught.message.partition("\n")[0].removeprefix("Syntax Error: ")
            raise InvalidInput(f"a GraphQL selection such as `id name owner {{ login }}`: {reason}") from None
        operation = document.definitions[0]
        if len(document.definitions) != 1 or operation.kind != "operation_definition":
            raise InvalidInput("one GraphQL selection, without operations and fragment definitions")
        self._check(operation.selection_set, self._root, 1, 1)
        return str(library.print_ast(operation.selection_set))

    def _check(self, selection_set: Any, type_name: str, depth: int, entries: int) -> None:
        if depth > MAX_DEPTH:
            raise InvalidInput(f"a selection of at most {MAX_DEPTH} levels")
        type_ = self._types[type_name]
        for selection in selection_set.selections:
            if selection.directives:
                raise InvalidInput("a selection without directives")
            if selection.kind == "inline_fragment":
                condition = type_name if selection.type_condition is None else selection.type_condition.name.value
                if condition != type_name and condition not in type_.possible_types:
                    options = ", ".join(type_.possible_types) or "none"
                    raise InvalidInput(f"{type_name} is never a {condition}; fragments are possible on: {options}")
                self._check(selection.selection_set, condition, depth + 1, entries)
            elif selection.kind == "field":
                self._field(selection, type_name, type_, depth, entries)
            else:
                raise InvalidInput("a selection without named fragments; write `... on Type { }`")

    def _field(self, node: Any, type_name: str, type_: SelectableType, depth: int, entries: int) -> None:
        name = node.name.value
        if node.alias is not None:  # an alias repeats a field as often as it likes
            raise InvalidInput(f"{name} without an alias")
        self._fields += 1
        self._cost += entries
        if self._fields > MAX_FIELDS:
            raise InvalidInput(f"at most {MAX_FIELDS} fields")
        if self._cost > MAX_COST:
            raise InvalidInput(f"a selection that costs at most {MAX_COST} fields; give smaller `first` or fewer lists")
        if name == "__typename":
            return
        field = type_.fields.get(name)
        if field is None:
            raise InvalidInput(f"{type_name} has no selectable field {name}; it has {_listed(type_.fields)}")
        size = self._arguments(node, name, field)
        if field.type is None and node.selection_set is not None:
            raise InvalidInput(f"{name} is a leaf; select nothing below it")
        if field.type is not None:
            if node.selection_set is None:
                options = _listed(self._types[field.type].fields)
                raise InvalidInput(f"{name} is a {field.type}; select some of {options} below it")
            factor = (ASSUMED_LIST if size is None else size) if field.is_list else 1
            self._check(node.selection_set, field.type, depth + 1, entries * max(1, factor))

    def _arguments(self, node: Any, name: str, field: SelectableField) -> int | None:
        """The number of entries that the arguments ask for; None: they do not say. Raises InvalidInput."""
        size: int | None = None
        given: set[str] = set()
        for argument in node.arguments or ():
            key, value = argument.name.value, argument.value
            type_ = field.arguments.get(key)
            if type_ is None or key in given:
                raise InvalidInput(f"{name} takes the arguments {_listed(field.arguments) or 'none'}, once each")
            given.add(key)
            if not all(_fits(each, type_.strip("[]!")) for each in _entries(value, type_)):
                raise InvalidInput(f"{name}({key}:) takes a literal of the type {type_}")
            if key in _SIZES and value.kind == "int_value":
                size = abs(int(value.value))
        missing = [key for key, type_ in field.arguments.items() if type_.endswith("!") and key not in given]
        if missing:
            raise InvalidInput(f"{name} needs the argument {missing[0]}")
        return size


def _entries(value: Any, type_: str) -> Iterator[Any]:
    if value.kind == "list_value" and type_.startswith("["):
        yield from value.values
    else:
        yield value


def _fits(value: Any, scalar: str) -> bool:
    if value.kind == "int_value" and scalar == "Int":
        return -(2**31) <= int(value.value) < 2**31 if len(value.value) < 12 else False
    return value.kind in _SCALARS[scalar]


def _listed(names: Any) -> str:
    listed = [*names][:40]
    return ", ".join(listed) + (", ..." if len(names) > len(listed) else "")
