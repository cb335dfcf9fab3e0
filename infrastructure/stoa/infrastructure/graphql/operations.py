"""Operations of a service: those that its operation documents hold, and those that are generated from its schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, slots=True)
class OperationPlace:
    """An operation of a file, not yet checked. `line` counts from 1."""

    file: OperationFile
    node: Any
    line: int
    fragments: dict[str, Any]

    @property
    def name(self) -> str:
        return self.node.name.value if self.node.name else ""

    @property
    def where(self) -> str:
        return f"{self.file.name}: line {self.line}"


def places_of(file: OperationFile, document: Any) -> Iterator[OperationPlace]:
    fragments = {node.name.value: node for node in document.definitions if node.kind == "fragment_definition"}
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
    used = _used_fragments(node, place.fragments)
    document = library.DocumentNode(definitions=(node, *used.values()))
    problems = library.validate(schema, document, max_errors=1)
    if problems:
        line = problems[0].locations[0].line if problems[0].locations else place.line
        raise CannotConvert(f"line {line}: {problems[0].message.partition(chr(10))[0]}")
    inputs = InputSchemas()
    properties: JsonObject = {}
    required: list[str] = []
    for variable in node.variable_definitions or ():
        type_ = library.type_from_ast(schema, variable.type)
        name = variable.variable.name.value
        properties[name] = inputs.of(type_, default=variable.default_value)
        if library.is_non_null_type(type_) and variable.default_value is None:
            required.append(name)
    return ServiceOperation(
        operation=node.operation.value,
        name=place.name,
        document=_printed(node, used),
        description=_description(place),
        input_schema=_closed(properties, required, inputs),
        output_schema=answer_schema(schema, node, used),
        is_fully_described=inputs.is_complete,
    )


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
        selection, selectable = default_selection(schema, type_), selectable_from(schema, type_)
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


def _used_fragments(node: Any, fragments: dict[str, Any]) -> dict[str, Any]:
    """Those that the operation spreads, directly or through others."""
    used: dict[str, Any] = {}
    waiting = [node]
    while waiting:
        for selection in waiting.pop().selection_set.selections:
            if selection.kind == "fragment_spread":
                name = selection.name.value
                if name in fragments and name not in used:
                    used[name] = fragments[name]
                    waiting.append(fragments[name])
            elif selection.selection_set is not None:
                waiting.append(selection)
    return used


def _printed(node: Any, fragments: dict[str, Any]) -> str:
    library = graphql()
    return "\n\n".join(str(library.print_ast(part)) for part in (node, *fragments.values()))


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
