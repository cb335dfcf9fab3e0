"""Arguments that clients repeat in HTTP headers, so that proxies can route by them (MCP 2026-07-28, `x-mcp-header`).

Read and checked once, at registration: clients drop a tool whose annotations are wrong, so it is refused here.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import pydantic_core

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, as_object, is_object
from stoa.domain.schema.subschemas import parts

ANNOTATION = "x-mcp-header"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2."""
_TYPES = frozenset({"string", "integer", "boolean"})


class RoutedArgument(NamedTuple):
    header: str
    """The annotated name; on the wire it follows `Mcp-Param-`."""
    path: tuple[str, ...]
    """Names of the members that lead to the value in the arguments."""
    type: Literal["string", "integer", "boolean"]


def routed_arguments(schema: JsonObject) -> tuple[RoutedArgument, ...]:
    """The annotated arguments of an input schema. Raises InvalidInput for an annotation that clients would refuse."""
    if ANNOTATION.encode() not in pydantic_core.to_json(schema):
        return ()
    arguments = tuple(_visit(schema, (), is_reachable=True))
    names = [routed.header.lower() for routed in arguments]
    if len(set(names)) < len(names):
        raise InvalidInput(f"inputSchema: each {ANNOTATION} must have a name of its own, in any case of letters")
    return arguments


def _visit(schema: JsonObject, path: tuple[str, ...], *, is_reachable: bool) -> Iterator[RoutedArgument]:
    if ANNOTATION in schema:
        yield _routed(schema, path, is_reachable=is_reachable)
    for keyword, value in schema.items():
        if keyword == "properties":
            for name, inner in as_object(value).items():
                yield from _visit(as_object(inner), (*path, name), is_reachable=is_reachable)
        else:
            for _, inner in parts(keyword, value):
                if is_object(inner):
                    yield from _visit(inner, (*path, keyword), is_reachable=False)


def _routed(schema: JsonObject, path: tuple[str, ...], *, is_reachable: bool) -> RoutedArgument:
    header, kind = schema[ANNOTATION], schema.get("type")
    where = f"inputSchema {'/'.join(path) or '(root)'}: {ANNOTATION}"
    if not is_reachable or not path:
        raise InvalidInput(f"{where} may stand only where `properties` alone lead from the root; remove it")
    if not isinstance(header, str) or not _TOKEN.fullmatch(header):
        raise InvalidInput(f"{where} must be an HTTP header name (letters, digits, hyphens)")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise InvalidInput(f"{where} needs the type string, integer or boolean")
    return RoutedArgument(header, path, kind)  # type: ignore[arg-type]  # one of _TYPES
