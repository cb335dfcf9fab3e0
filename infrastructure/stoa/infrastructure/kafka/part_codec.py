"""The codec of one format of keys and values: JSON values to bytes and back."""

from typing import Any, Protocol

from stoa.infrastructure.documents.json_allowance import JsonAllowance

_ONE_BYTE, _TWO_BYTES = "[A-Za-z0-9+/][AQgw]==", "[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]="


def base64_pattern(size: int | None = None) -> str:
    """The pattern of base64 (RFC 4648 section 4) in the one form that is written. `size`: the number of bytes; None:
    any."""
    if size is None:
        return f"^([A-Za-z0-9+/]{{4}})*({_ONE_BYTE}|{_TWO_BYTES})?$"
    return f"^([A-Za-z0-9+/]{{4}}){{{size // 3}}}{('', _ONE_BYTE, _TWO_BYTES)[size % 3]}$"


class Undecodable(ValueError):
    """Bytes that are no value of the schema."""


class Unencodable(ValueError):
    """A value that the schema does not have. `place`: JSON Pointer within the value."""

    def __init__(self, place: str, expected: str) -> None:
        super().__init__(expected)
        self.place = place
        self.expected = expected


class PartCodec(Protocol):
    """Writes and reads the content of one part; null is no content and does not come here."""

    indexes: bytes = b""
    """Stands between the id in a frame and the content."""

    def encode(self, value: Any) -> bytes:
        """Raises Unencodable, or another ValueError or TypeError."""
        ...

    def decode(self, data: bytes, allowance: JsonAllowance | None = None) -> Any:
        """`allowance`: of the answer that the value is a part of; None: one of its own. Raises Undecodable,
        AllowanceExceeded."""
        ...

    def decode_framed(self, data: bytes, allowance: JsonAllowance | None = None) -> Any:
        """Reads all that stands behind the id in a frame. Raises Undecodable, AllowanceExceeded."""
        return self.decode(data, allowance)
