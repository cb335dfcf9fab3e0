"""Encodes an object as multipart/form-data (RFC 7578; OpenAPI 3.1 section 4.8.15.1): files and objects as parts of
their own type, each entry of an array as a part of its own."""

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from stoa.domain.operations.tool import FormField
from stoa.domain.schema.json_value import is_array, is_object
from stoa.infrastructure.http_client.header_text import Unsendable, header_text
from stoa.infrastructure.rest.encoding import json_text, scalar
from stoa.infrastructure.rest.files import file_content

_ESCAPED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
_ANY_FILE = "application/octet-stream"
_BOUNDARY = re.compile(rb"--([0-9a-f]{32})(?:--)?\r\n")
_DEFAULT = FormField()


def multipart_type(body: bytes) -> str:
    """The Content-Type of a body that was encoded here; its boundary is its first line."""
    match = _BOUNDARY.match(body)
    return f"multipart/form-data; boundary={match[1].decode() if match else ''}"


def multipart_encoder(fields: Mapping[str, FormField]) -> Callable[[Any], bytes]:
    """`fields`: how the members are sent; one that is not among them is JSON if it is an object, else text."""

    def encode(value: Any) -> bytes:
        if not is_object(value):
            raise Unsendable("an object whose members are the parts of the form")
        # No value can contain what is chosen after it was made, so none can add a part.
        boundary = secrets.token_hex(16).encode()
        lines: list[bytes] = []
        for name, member in value.items():
            field = fields.get(name, _DEFAULT)
            for entry in member if is_array(member) else [member]:
                if entry is not None:
                    lines += [b"--" + boundary, _part(name, entry, field)]
        return b"\r\n".join([*lines, b"--" + boundary + b"--", b""])

    return encode


def _part(name: str, value: Any, field: FormField) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name.translate(_ESCAPED)}"'
    media_type = field.content_type
    if field.is_file:
        file = file_content(value)
        filename = (file.name or name).translate(_ESCAPED)
        disposition += f'; filename="{filename}"'
        content, media_type = file.content, media_type or file.media_type or _ANY_FILE
    elif field.is_json or is_object(value) or is_array(value):
        content, media_type = json_text(value).encode(), media_type or "application/json"
    else:
        content = scalar(value).encode()
    head = f"{header_text(disposition)}\r\n" + (f"Content-Type: {header_text(media_type)}\r\n" if media_type else "")
    return head.encode() + b"\r\n" + content
