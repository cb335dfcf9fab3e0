"""Compiles a RestBody into an encoder from the tool's arguments to the bytes of the request body, with their content
type."""

from collections.abc import Callable, Set
from typing import Any, cast

import pydantic_core

from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import FormField, RestBinding, RestBody
from stoa.domain.schema.json_value import JsonObject, is_array
from stoa.infrastructure.http_client.header_text import Unsendable
from stoa.infrastructure.rest.encoding import NOT_UNICODE, Encoder, invalid_argument, query_encoder, scalar
from stoa.infrastructure.rest.files import TypedBytes, file_content
from stoa.infrastructure.rest.multipart import multipart_encoder
from stoa.infrastructure.rest.xml_body import xml_encoder

Pick = Callable[[JsonObject], Any]
BodyEncoder = Callable[[JsonObject], bytes | None]
"""Encodes a tool's arguments as a request body; None: the request has no body."""

FORM = "application/x-www-form-urlencoded"
_NO_FIELD = FormField()
_JSON_TYPES = ("application/json", "text/json")
_TEXT_TYPES = (
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/graphql",
)
_FILES_OF_A_KIND = frozenset({"image", "audio", "video", "font", "model"})
"""Types of which a data: URI says the rest (`image/*`)."""
LINES_OF_JSON = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/json-lines",
    }
)


def compile_body(body: RestBody, tool: str, elsewhere: Set[str] = frozenset()) -> tuple[BodyEncoder, str]:
    """The encoder of `body` and its Content-Type; "": the body says it (`TypedBytes`). `elsewhere`: arguments that
    other parts of the request carry. Raises InvalidInput for a media type that cannot be made."""
    kind = body.media_type.partition(";")[0].strip().lower()
    pick = _picker(body, tool, elsewhere)
    if kind in _JSON_TYPES or kind.endswith("+json"):
        return _present(pick, pydantic_core.to_json), body.media_type
    if kind == FORM:
        return _present(pick, _form_encoder(body)), body.media_type
    if kind.startswith("multipart/") and "*" not in kind:
        return _present(pick, multipart_encoder(body.form, kind)), ""
    if body.xml is not None:
        return _present(pick, xml_encoder(body.xml)), body.media_type
    if kind in LINES_OF_JSON:
        return _present(pick, _lines), body.media_type
    if kind.startswith("text/") or kind.endswith("+xml") or kind in _TEXT_TYPES:
        has_charset = "charset=" in body.media_type.lower()
        return _present(pick, _text), body.media_type if has_charset else f"{kind}; charset=utf-8"
    if kind.endswith("/*") and kind.partition("/")[0] in _FILES_OF_A_KIND:
        return _present(pick, _typed_file), ""
    if "*" in kind or kind.startswith("message/") or "/" not in kind:
        raise InvalidInput(f"Tool {tool}: cannot send a body of type {body.media_type!r}; name a single media type")
    return _present(pick, _file), body.media_type


def files_in(binding: RestBinding) -> tuple[str, ...]:
    """The arguments that stand for files."""
    body = binding.body
    if body is None:
        return ()
    if body.argument is not None:
        return (body.argument,) if _is_bytes(body) else ()
    return tuple(
        argument for argument, member in (body.fields or {}).items() if body.form.get(member, _NO_FIELD).is_file
    )


def _is_bytes(body: RestBody) -> bool:
    kind = body.media_type.partition(";")[0].strip().lower()
    is_json = kind in _JSON_TYPES or kind.endswith("+json") or kind in LINES_OF_JSON
    is_text = kind.startswith("text/") or kind.endswith("+xml") or kind in _TEXT_TYPES or body.xml is not None
    return not (is_json or is_text or kind == FORM or kind.startswith("multipart/"))


def _picker(body: RestBody, tool: str, elsewhere: Set[str]) -> Pick:
    """Finds the value that is the body, or `_ABSENT` (None would be JSON null)."""
    if (body.argument is None) == (body.fields is None):
        raise InvalidInput(f"Tool {tool}: binding.body needs either argument or fields")
    argument, fields, required = body.argument, tuple((body.fields or {}).items()), body.required

    def whole(arguments: JsonObject) -> Any:
        if argument in arguments:
            return arguments[argument]
        return {} if required else _ABSENT

    def members(arguments: JsonObject) -> Any:
        value = {member: arguments[name] for name, member in fields if name in arguments}
        return value if value or required else _ABSENT

    named = elsewhere | {name for name, _ in fields}

    def members_and_others(arguments: JsonObject) -> Any:
        value = {member: arguments[name] for name, member in fields if name in arguments}
        if len(value) < len(arguments) and not arguments.keys() <= named:
            others = {name: given for name, given in arguments.items() if name not in named}
            value = {**others, **value}  # a declared member is never replaced
        return value if value or required else _ABSENT

    if argument is not None:
        return whole
    return members_and_others if body.takes_others else members


_ABSENT: Any = object()


def _present(pick: Pick, encode: Callable[[Any], bytes]) -> BodyEncoder:
    def encoded(arguments: JsonObject) -> bytes | None:
        value = pick(arguments)
        if value is _ABSENT:
            return None
        try:
            return encode(value)
        except Unsendable as error:
            raise invalid_argument("", f"in the body {error}") from None
        except NOT_UNICODE:
            raise invalid_argument("", "valid Unicode in the body") from None

    return encoded


def _lines(value: Any) -> bytes:
    """One JSON text a line; a string is taken for such lines."""
    if isinstance(value, str):
        return value.encode()
    values = value if is_array(value) else [value]
    return b"".join(pydantic_core.to_json(each) + b"\n" for each in values)


def _file(value: Any) -> bytes:
    return b"" if value in ({}, None) else file_content(value).content


def _typed_file(value: Any) -> bytes:
    file = file_content("" if value in ({}, None) else value)
    return TypedBytes.of(file.content, file.media_type or "application/octet-stream")


def _text(value: Any) -> bytes:
    return b"" if value in ({}, None) else scalar(value).encode()


def _form_encoder(body: RestBody) -> Callable[[Any], bytes]:
    encoders = {member: _field_encoder(member, field) for member, field in body.form.items()}

    def encode(value: Any) -> bytes:
        if not isinstance(value, dict):
            return scalar(value).encode()
        pieces: list[str] = []
        for member, item in cast("JsonObject", value).items():
            if item is None:
                continue
            encoder = encoders.get(member) or _default_field_encoder(member)
            pieces.append(encoder(item))
        return "&".join(piece for piece in pieces if piece).encode("ascii")

    return encode


def _field_encoder(member: str, field: FormField) -> Encoder:
    return query_encoder(member, field.style, explode=field.explode, is_json=field.is_json)


def _default_field_encoder(member: str) -> Encoder:
    """The encoder of a field without an Encoding Object (OpenAPI 3.1 section 4.8.15.1): arrays repeat the name, objects
    are JSON."""
    repeated = query_encoder(member, "form", explode=True)
    as_json = query_encoder(member, "form", explode=True, is_json=True)
    return lambda value: (as_json if isinstance(value, dict) else repeated)(value)
