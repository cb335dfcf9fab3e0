"""Operations of a service: those that its operation documents hold, and those that are generated from its schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from stoa.domain.operations.naming import shortened
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.graphql.answer_schema import answer_schema
from stoa.infrastructure.graphql.binding import OperationType, Selectable
from stoa.infrastructure.graphql.default_selection import default_selection
from stoa.infrastructure.graphql.input_schema import InputSchemas, deprecated
from stoa.infrastructure.graphql.schema_text import OperationFile, graphql
from stoa.infrastructure.graphql.selectable import selectable_from

ARGUMENT_LIMIT = 64
_LISTED = 40


class CannotConvert(ValueError):
    """No tool can make this operation; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOperation:
    """One operation, valid by the schema."""

    operation: OperationType
    name: str
    document: str
    description: str
    input_schema: JsonObject
    output_schema: JsonObject | None
    is_fully_described: bool = True
    """False: input types beyond the budget accept any object."""
    fields_argument: str | None = None
    selection: str = ""
    selectable: Selectable | None = None


class Fragment(NamedTuple):
    file: OperationFile
    node: Any


@dataclass(frozen=True, slots=True)
class OperationPlace:
    """An operation of a file, not yet checked. `line` counts from 1."""

    file: OperationFile
    node: Any
    line: int
    fragments: dict[str, Fragment]
    """Those that it may spread."""

    @property
    def name(self) -> str:
        return self.node.name.value if self.node.name else ""

    @property
    def where(self) -> str:
        return f"{self.file.name}: line {self.line}"


def fragments_of(file: OperationFile, document: Any) -> dict[str, Fragment]:
    nodes = (node for node in document.definitions if node.kind == "fragment_definition")
    return {node.name.value: Fragment(file, node) for node in nodes}


def places_of(file: OperationFile, document: Any, shared: dict[str, Fragment]) -> Iterator[OperationPlace]:
    """The operations of a file. `shared`: fragments of all files, of which its own come first."""
    fragments = {**shared, **fragments_of(file, document)}
    for node in document.definitions:
        if node.kind != "fragment_definition":
            yield OperationPlace(file, node, node.loc.start_token.line, fragments)


def written_operation(place: OperationPlace, schema: Any) -> ServiceOperation:
    """The operation that its author wrote, checked against the schema. Raises CannotConvert, whose text names the
    line."""
    library = graphql()
    node = place.node
    if node.kind != "operation_definition":
        raise CannotConvert("only operations and fragments are read here")
    if not place.name:
        raise CannotConvert("it has no name, which would be the tool's; write `query Name { ... }`")
    fragments = _used_fragments(node, place.fragments)
    used = {name: fragment.node for name, fragment in fragments.items()}
    problems = library.validate(schema, library.DocumentNode(definitions=(node, *used.values())), max_errors=1)
    if problems:
        raise CannotConvert(f"{_line_of(problems[0], place, fragments)}: {problems[0].message.partition(chr(10))[0]}")
    inputs = InputSchemas()
    properties: JsonObject = {}
    required: list[str] = []
    texts = _variable_texts(schema, node, used)
    for variable in node.variable_definitions or ():
        type_ = library.type_from_ast(schema, variable.type)
        name = variable.variable.name.value
        properties[name] = inputs.of(type_, description=texts.get(name, ""), default=variable.default_value)
        if library.is_non_null_type(type_) and variable.default_value is None:
            required.append(name)
    return ServiceOperation(
        operation=node.operation.value,
        name=place.name,
        document=_printed(node, used),
        description=_description(place) or _field_texts(schema, node),
        input_schema=_closed(properties, required, inputs),
        output_schema=answer_schema(schema, node, used),
        is_fully_described=inputs.is_complete,
    )


def _line_of(problem: Any, place: OperationPlace, fragments: dict[str, Fragment]) -> str:
    """The place of the problem; in another file if a fragment of it has the fault."""
    if not problem.locations:
        return f"line {place.line}"
    source = problem.source
    other = next((each.file.name for each in fragments.values() if each.node.loc.source is source), place.file.name)
    line = f"line {problem.locations[0].line}"
    return line if other == place.file.name else f"{other}: {line}"


def _variable_texts(schema: Any, node: Any, fragments: dict[str, Any]) -> dict[str, str]:
    """The description of each variable: the author's, else the schema's of the first argument or input field that the
    variable stands for."""
    library = graphql()
    texts: dict[str, str] = {}
    for variable in node.variable_definitions or ():
        described = getattr(variable, "description", None)
        if described is not None:
            texts[variable.variable.name.value] = str(described.value)
    types = library.TypeInfo(schema)

    class Reader(library.Visitor):  # type: ignore[misc, name-defined]  # the library is imported where it is used
        def enter_argument(self, argument: Any, *_: Any) -> None:
            self._tell(argument.value, types.get_argument())

        def enter_object_field(self, field: Any, *_: Any) -> None:
            parent = library.get_named_type(types.get_parent_input_type())
            self._tell(field.value, getattr(parent, "fields", {}).get(field.name.value))

        def _tell(self, value: Any, described: Any) -> None:
            if value.kind == "variable" and described is not None:
                text = deprecated(described.description, described.deprecation_reason)
                if text:
                    texts.setdefault(value.name.value, text)

    document = library.DocumentNode(definitions=(node, *fragments.values()))
    library.visit(document, library.TypeInfoVisitor(types, Reader()))
    return texts


def _field_texts(schema: Any, node: Any) -> str:
    """The schema's description of the root fields, for an operation whose author gives none."""
    fields = getattr(schema, f"{node.operation.value}_type").fields
    named = [fields.get(each.name.value) for each in node.selection_set.selections if each.kind == "field"]
    texts = [deprecated(field.description, field.deprecation_reason) for field in named if field is not None]
    return "\n".join(text for text in texts if text)


def generated_operation(schema: Any, operation: OperationType, name: str, field: Any) -> ServiceOperation:
    """The operation that asks for one root field. Raises CannotConvert."""
    library = graphql()
    inputs = InputSchemas()
    properties: JsonObject = {}
    required: list[str] = []
    variables: list[str] = []
    passed: list[str] = []
    for argument_name, argument in field.args.items():
        key = argument_name
        if len(key) > ARGUMENT_LIMIT:
            key = shortened(key, key, ARGUMENT_LIMIT)
        default = argument.ast_node.default_value if argument.ast_node else None
        text = deprecated(argument.description, argument.deprecation_reason)
        properties[key] = inputs.of(argument.type, description=text, default=default)
        is_required = library.is_required_argument(argument)
        required += [key] if is_required else []
        # A variable of a Non-Null type without a default must be given, also where the argument need not.
        given = f" = {library.print_ast(default)}" if default is not None and not is_required else ""
        variables.append(f"${key}: {argument.type}{given}")
        passed.append(f"{argument_name}: ${key}")
    definitions = f"({', '.join(variables)})" if variables else ""
    arguments = f"({', '.join(passed)})" if passed else ""
    type_ = library.get_named_type(field.type)
    selection, selectable, fields_argument = "", None, None
    if library.is_composite_type(type_):
        selection, selectable = default_selection(schema, field.type), selectable_from(schema, type_)
        fields_argument = _free_name("fields", properties)
        properties[fields_argument] = _fields_schema(selectable)
    document = f"{operation} {name}{definitions} {{ {name}{arguments} {selection} }}".replace("  ", " ")
    node = _valid(schema, document)
    return ServiceOperation(
        operation=operation,
        name=name,
        document=document,
        description=deprecated(field.description or f"{operation} {name}: {field.type}", field.deprecation_reason),
        input_schema=_closed(properties, required, inputs),
        output_schema=answer_schema(schema, node, {}),
        is_fully_described=inputs.is_complete,
        fields_argument=fields_argument,
        selection=selection,
        selectable=selectable,
    )


def _valid(schema: Any, document: str) -> Any:
    library = graphql()
    try:
        parsed = library.parse(document)
    except library.GraphQLError as caught:
        raise CannotConvert(f"cannot be asked for: {caught.message.partition(chr(10))[0]}") from caught
    problems = library.validate(schema, parsed, max_errors=1)
    if problems:
        raise CannotConvert(f"cannot be asked for: {problems[0].message.partition(chr(10))[0]}")
    return parsed.definitions[0]


def _fields_schema(selectable: Selectable) -> JsonObject:
    fields = selectable.types[selectable.root].fields
    names = [f"{name} {{...}}" if field.type else name for name, field in fields.items()]
    more = ", ..." if len(names) > _LISTED else ""
    listed = f" Fields of {selectable.root}: {', '.join(names[:_LISTED])}{more}." if names else ""
    if possible := selectable.types[selectable.root].possible_types:
        listed += f" Possible types, as in `... on {possible[0]} {{ id }}`: {', '.join(possible[:_LISTED])}."
    text = f"GraphQL selection to answer instead of the default one, such as `id name owner {{ id }}`.{listed}"
    return {"type": "string", "description": text, "maxLength": 4096}


def _free_name(name: str, taken: JsonObject) -> str:
    while name in taken:
        name = f"answer_{name}"
    return name


def _closed(properties: JsonObject, required: list[str], inputs: InputSchemas) -> JsonObject:
    schema: JsonObject = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    if definitions := inputs.definitions():
        schema["$defs"] = definitions
    return schema


def _used_fragments(node: Any, fragments: dict[str, Fragment]) -> dict[str, Fragment]:
    """Those that the operation spreads, directly or through others."""
    used: dict[str, Fragment] = {}
    waiting = [node]
    while waiting:
        for selection in waiting.pop().selection_set.selections:
            if selection.kind == "fragment_spread":
                name = selection.name.value
                if name in fragments and name not in used:
                    used[name] = fragments[name]
                    waiting.append(fragments[name].node)
            elif selection.selection_set is not None:
                waiting.append(selection)
    return used


def _printed(node: Any, fragments: dict[str, Any]) -> str:
    """Without descriptions, which only servers of the specification of 2025 read in operations (section 2.4)."""
    library = graphql()
    variables = tuple(_undescribed(variable) for variable in node.variable_definitions or ())
    parts = [_undescribed(node, variable_definitions=variables), *map(_undescribed, fragments.values())]
    return "\n\n".join(str(library.print_ast(part)) for part in parts)


def _undescribed(node: Any, **changes: Any) -> Any:
    members = {key: getattr(node, key) for key in node.keys if key != "kind"} | changes
    return type(node)(**(members | {"description": None} if "description" in members else members))


def _description(place: OperationPlace) -> str:
    """The description of the operation, or the comments above it."""
    described = getattr(place.node, "description", None)
    if described is not None:
        return str(described.value)
    lines = place.file.text.splitlines()[: place.line - 1]
    comments: list[str] = []
    while lines and lines[-1].lstrip().startswith("#"):
        comments.insert(0, lines.pop().lstrip().lstrip("#").strip())
    return "\n".join(comments)
