"""`Mcp-Param-*` headers against the arguments of the called tool (2026-07-28, "Custom Headers"): a proxy that routes by
the headers must see what the tool gets."""

import re
from collections.abc import Iterable
from typing import Any

from stoa.application.schemas.routed_arguments import RoutedArgument
from stoa.domain.schema.json_value import is_object
from stoa.interfaces.mcp.jsonrpc.messages import HEADER_MISMATCH, Fault
from stoa.interfaces.mcp.wire.headers import Headers, decode_value

_PREFIX = b"mcp-param-"
_INTEGER = re.compile(r"[+-]?\d{1,16}(\.0*)?")
_LARGEST = 2**53 - 1


def check(routed: Iterable[RoutedArgument], arguments: Any, headers: Headers) -> None:
    """Raise Fault (HeaderMismatch) where a header does not repeat its argument."""
    for argument in routed:
        name = _PREFIX + argument.header.lower().encode("ascii")
        if name in headers.repeated_names:
            raise _mismatch(argument, "may stand there once only")
        header = headers.get(name)
        value = _value(arguments, argument.path)
        if value is None and header is None:
            continue
        if header is None:
            if _is_renderable(value):
                raise _mismatch(argument, "is required with this argument")
            continue  # a wrong type has no header; the input schema refuses it
        if value is None:
            raise _mismatch(argument, "stands for no argument")
        if not _same(decode_value(header), value):
            raise _mismatch(argument, "differs from the argument")


def _value(arguments: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        arguments = arguments.get(name) if is_object(arguments) else None
    return arguments


def _is_renderable(value: Any) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and value.is_integer())


def _same(text: str, value: Any) -> bool:
    if isinstance(value, str):
        return text == value
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if isinstance(value, (int, float)) and _INTEGER.fullmatch(text):
        return value == int(text.partition(".")[0]) and abs(value) <= _LARGEST
    return False


def _mismatch(argument: RoutedArgument, what: str) -> Fault:
    return Fault(HEADER_MISMATCH, f"The header Mcp-Param-{argument.header} {what}")
