"""Encodes an object as a multipart body (RFC 7578, RFC 2046; OpenAPI 3.1 section 4.8.15.1): files and objects as parts
of their own type, each entry of an array as a part of its own."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stoa.domain.operations.tool import FormField
from stoa.domain.schema.json_value import is_array, is_object
from stoa.infrastructure.http_client.header_text import Unsendable, header_text
from stoa.infrastructure.rest.encoding import deep_pairs, json_text, scalar
from stoa.infrastructure.rest.files import TypedBytes, file_content

_ESCAPED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
_ANY_FILE = "application/octet-stream"
_DEFAULT = FormField()
_DELIMITERS = {"form": ",", "spaceDelimited": " ", "pipeDelimited": "|", "tabDelimited": "\t"}
FORM_DATA = "multipart/form-data"


def multipart_encoder(fields: Mapping[str, FormField], kind: str = FORM_DATA) -> Callable[[Any], TypedBytes]:
    """`fields`: how the members are sent; one that is not among them is JSON if it is an object, else text. "": the
    entries of an array, which become parts without names. `kind`: the media type; only a form names its parts."""

    def encode(value: Any) -> TypedBytes:
        # No value can contain what is chosen after it was made, so none can add a part.
        boundary = secrets.token_hex(16).encode()
        lines: list[bytes] = []
        for name, part, field in _parts(value, fields):
            lines += [b"--" + boundary, _part(name if kind == FORM_DATA else "", part, field)]
        body = b"\r\n".join([*lines, b"--" + boundary + b"--", b""])
        return TypedBytes.of(body, f"{kind}; boundary={boundary.decode()}")

    return encode


def _parts(value: Any, fields: Mapping[str, FormField]) -> Iterator[tuple[str, Any, FormField]]:
    if is_array(value):
        yield from (("", entry, fields.get("", _DEFAULT)) for entry in value if entry is not None)
        return
    if not is_object(value):
        raise Unsendable("an object whose members are the parts of the form")
    for name, member in value.items():
        field = fields.get(name, _DEFAULT)
        if field.style == "deepObject" and (is_object(member) or is_array(member)):
            yield from ((path, text, _DEFAULT) for path, text in deep_pairs(name, member))
        elif is_array(member) and not field.explode:
            yield name, _DELIMITERS[field.style].join(scalar(entry) for entry in member if entry is not None), field
        else:
            entries = member if is_array(member) else [member]
            yield from ((name, entry, field) for entry in entries if entry is not None)


def _part(name: str, value: Any, field: FormField) -> bytes:
    disposition = f'form-data; name="{name.translate(_ESCAPED)}"' if name else ""
    media_type = field.content_type
    if field.is_file:
        file = file_content(value)
        filename = (file.name or name).translate(_ESCAPED)
        disposition = f'{disposition or "attachment"}; filename="{filename}"' if filename else disposition
        content, media_type = file.content, media_type or file.media_type or _ANY_FILE
    elif field.is_json or is_object(value) or is_array(value):
        content, media_type = json_text(value).encode(), media_type or "application/json"
    else:
        content = scalar(value).encode()
    named = (("Content-Disposition", disposition), ("Content-Type", media_type), *field.headers)
    head = "".join(f"{key}: {header_text(text)}\r\n" for key, text in named if text)
    return head.encode() + b"\r\n" + content
