"""Bytes in arguments: JSON has only text, so a file is written as base64, as a `data:` URI, or as plain text."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from stoa.infrastructure.http_client.header_text import Unsendable
from stoa.infrastructure.rest.encoding import scalar

_DATA_URI = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),(.*)", re.DOTALL | re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")


class TypedBytes(bytes):
    """A body that says its media type itself."""

    media_type: str

    @classmethod
    def of(cls, content: bytes, media_type: str) -> "TypedBytes":
        typed = cls(content)
        typed.media_type = media_type
        return typed


@dataclass(frozen=True, slots=True)
class FileContent:
    """The content of a file, with what its data URI says of it; "" for what it does not say."""

    content: bytes
    media_type: str = ""
    name: str = ""


def file_content(value: Any) -> FileContent:
    """The file that an argument stands for: a data URI (RFC 2397, with the parameter `name`), base64 (RFC 4648), or
    text as it is. Raises Unsendable."""
    if not isinstance(value, str):
        return FileContent(scalar(value).encode())
    if value[:5].lower() == "data:":
        return _of_data_uri(value)
    try:
        return FileContent(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return FileContent(value.encode())


def _of_data_uri(value: str) -> FileContent:
    match = _DATA_URI.fullmatch(value)
    if match is None:
        raise Unsendable("a data: URI such as data:text/plain;base64,SGk=")
    parameters = [parameter.strip() for parameter in match[2].split(";")[1:]]
    names = (unquote(parameter[5:]) for parameter in parameters if parameter.lower().startswith("name="))
    media_type = match[1] if _MEDIA_TYPE.fullmatch(match[1]) else ""
    if not any(parameter.lower() == "base64" for parameter in parameters):
        return FileContent(unquote_to_bytes(match[3]), media_type, next(names, ""))
    try:
        content = base64.b64decode(unquote(match[3]), validate=True)
    except (binascii.Error, ValueError):
        raise Unsendable("base64 after ;base64, in the data: URI") from None
    return FileContent(content, media_type, next(names, ""))
