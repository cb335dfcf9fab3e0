"""The HTTP headers of one request, read once from the raw ASGI list so that a repeated header cannot hide."""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

from stoa.interfaces.mcp.jsonrpc.messages import HEADER_MISMATCH, Fault

_SENTINEL, _END = "=?base64?", "?="
_ROUTING = frozenset({b"mcp-protocol-version", b"mcp-method", b"mcp-name"})

_NONE: frozenset[bytes] = frozenset()


class Headers(dict[bytes, str]):
    """Header values as text by lower-case names, the form of ASGI. Bytes outside ASCII survive as Latin-1; of a
    repeated header the last value counts. A dict, whose `get` costs no Python call: a request looks a dozen headers
    up."""

    repeated = False
    """A routing header stands there more than once: first-copy and last-copy readers would disagree."""
    repeated_names: frozenset[bytes] = _NONE
    matched: tuple[str, str, Any] | None = None
    """Revision, method and tool of a message that they were found to repeat; its connection sends such ones again."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__()
        for name, value in raw:
            if name in self:
                self.repeated_names |= {name}
                self.repeated = self.repeated or name in _ROUTING
            self[name] = value.decode("latin-1").strip(" \t")

    @classmethod
    def of_unrepeated(cls, fields: dict[bytes, bytes]) -> "Headers":
        """The headers of a request that repeats none."""
        headers = cls.__new__(cls)  # `__init__` would only look for repetitions
        for name, value in fields.items():
            headers[name] = value.decode("latin-1").strip(" \t")
        return headers

    def __repr__(self) -> str:
        """Names alone: one of the values is a bearer token."""
        return f"Headers({sorted(self)})"


def is_visible(value: str) -> bool:
    """True for visible ASCII, with spaces and tabs between."""
    return value.isascii() and (value.isprintable() or value.replace("\t", " ").isprintable())


def decode_value(value: str) -> str:
    """A routing header's value, with the base64 form for text that headers cannot carry (2026-07-28, "Encoding").

    Raises Fault (HeaderMismatch) for a form that is not canonical.
    """
    if not (value.startswith(_SENTINEL) and value.endswith(_END, len(_SENTINEL))):
        if is_visible(value):
            return value
        raise Fault(HEADER_MISMATCH, "A header value has bytes outside visible ASCII; use the base64 form")
    encoded = value[len(_SENTINEL) : -len(_END)]
    try:
        raw = base64.b64decode(encoded, validate=True)
        if base64.b64encode(raw).decode("ascii") != encoded:
            raise Fault(HEADER_MISMATCH, "A header value is not canonical base64")
        return raw.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as caught:
        raise Fault(HEADER_MISMATCH, "A header value is not base64 of UTF-8 text") from caught
