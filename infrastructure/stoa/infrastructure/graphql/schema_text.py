"""The text of a description: a schema (SDL or introspection JSON), and the operation documents after it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import as_object, is_object
from stoa.infrastructure.documents import DocumentProblem, read_json
from stoa.infrastructure.graphql.federation import api_schema

MAX_BYTES = 16 * 1024 * 1024
MAX_TOKENS = 2_000_000
MAX_TYPES = 20_000
MAX_DEPTH = 100
"""Brackets within each other; the parser is recursive."""

_OPERATIONS = re.compile(r"^#stoa-operations (.*)$", re.MULTILINE)
_DEEPER = re.compile(r'"""[\s\S]*?(?<!\\)"""|"(?:\\.|[^"\\\n])*"|#[^\n]*|[{\[(]|[}\])]')
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OperationFile:
    """A `.graphql` file with operations, named as its author names it."""

    name: str
    text: str


def joined(schema: str, files: list[OperationFile]) -> str:
    """One text, which `taken_apart` takes apart again."""
    parts = [f"\n#stoa-operations {' '.join(file.name.split())}\n{file.text}" for file in files]
    return "".join([schema, *parts])


def taken_apart(text: str) -> tuple[str, list[OperationFile]]:
    schema, *rest = _OPERATIONS.split(text)
    return schema, [OperationFile(name, body[1:]) for name, body in zip(rest[::2], rest[1::2], strict=True)]


def graphql() -> Any:
    """The library, where it is installed. Raises InvalidInput."""
    try:
        import graphql as library
    except ImportError:
        message = "GraphQL needs the extra graphql: pip install 'stoa-mcp-gateway[graphql]'"
        raise InvalidInput(message) from None
    return library


def check_depth(text: str, where: str, limit: int = MAX_DEPTH) -> None:
    """Raises InvalidInput for text whose brackets stand deeper than the recursive parser should go."""
    depth = 0
    for match in _DEEPER.finditer(text):
        bracket = match[0]
        if bracket in "{[(":
            depth += 1
            if depth > limit:
                line = text.count("\n", 0, match.start()) + 1
                raise InvalidInput(f"{where}: line {line}: nested deeper than {limit} levels")
        elif bracket in "}])":
            depth -= 1


def parsed(text: str, where: str) -> Any:
    """The document, a `graphql.DocumentNode`. Raises InvalidInput naming the line."""
    library = graphql()
    check_depth(text, where)
    try:
        return library.parse(text, max_tokens=MAX_TOKENS)
    except library.GraphQLSyntaxError as caught:
        line = caught.locations[0].line if caught.locations else 1
        raise InvalidInput(f"{where}: line {line}: not GraphQL: {_first_line(caught.message)}") from caught


def read_schema(text: str, where: str) -> Any:
    """The schema, a `graphql.GraphQLSchema`, that an SDL text or introspection JSON describes. Raises InvalidInput
    naming location, line and reason."""
    if len(text) > MAX_BYTES:
        raise InvalidInput(f"{where}: line 1: is larger than {MAX_BYTES} bytes; give a smaller schema")
    if text.lstrip("\ufeff \t\r\n")[:1] == "{":
        # Through SDL, so that defaults and deprecations are read in one way, whichever form the schema came in.
        text = _sdl_of_introspection(text, where)
    if not text.strip():
        raise InvalidInput(f"{where}: line 1: the schema is empty")
    document = parsed(text, where)
    if len(document.definitions) > MAX_TYPES:
        raise InvalidInput(f"{where}: line 1: more than {MAX_TYPES} definitions; give a smaller schema")
    for node in document.definitions:
        if node.kind in {"operation_definition", "fragment_definition"}:
            message = "an operation stands where a schema is expected; name its file in spec.graphQL.operations"
            raise InvalidInput(f"{where}: line {node.loc.start_token.line}: {message}")
    return _built(lambda: _schema_of(document), where)


def _schema_of(document: Any) -> Any:
    # Not validated: unknown directives and custom conventions of a service must not cost all its tools.
    return graphql().build_ast_schema(api_schema(document, graphql()), assume_valid=True, assume_valid_sdl=True)


def _sdl_of_introspection(text: str, where: str) -> str:
    try:
        root = as_object(read_json(text))
    except DocumentProblem as problem:
        raise InvalidInput(f"{where}: line {problem.line}: not readable as JSON: {problem.reason}") from problem
    data = root.get("data", root)
    if not is_object(data) or not is_object(data.get("__schema")):
        raise InvalidInput(f"{where}: line 1: not an introspection result: it has no __schema")
    library = graphql()
    return _built(lambda: str(library.print_schema(library.build_client_schema(data, assume_valid=True))), where)


def _built(build: Callable[[], T], where: str) -> T:
    """Raises InvalidInput for what the library raises: a schema of another's making breaks it in many ways."""
    try:
        return build()
    except InvalidInput:
        raise
    except RecursionError:
        raise InvalidInput(f"{where}: line 1: nested too deep") from None
    except Exception as caught:
        raise InvalidInput(f"{where}: line 1: not a GraphQL schema: {_first_line(str(caught))}") from caught


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:200]
