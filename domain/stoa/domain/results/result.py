"""What a tool answers: content blocks, structured content, and the shaping of a back end's raw answer into them."""

import base64
import codecs
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import pydantic_core

from stoa.domain.results.response_headers import MAX_VALUE, TOLD, Headers, told

TEXT_LIMIT = 256 * 1024
"""Characters of text that one result may carry; beyond it clients refuse or drown."""
BINARY_LIMIT = 5 * 1024 * 1024
"""Bytes of image, audio or other binary content that one result may carry, before base64."""
SIZE_LIMIT = 4 * -(-BINARY_LIMIT // 3) + len(TOLD) * 4 * (MAX_VALUE + 16)
"""The most that `ToolResult.size` can be of what a back end answered."""


@dataclass(frozen=True, slots=True)
class TextContent:
    text: str


@dataclass(frozen=True, slots=True)
class ImageContent:
    data: str
    """Base64 (RFC 4648 section 4)."""
    mime_type: str


@dataclass(frozen=True, slots=True)
class AudioContent:
    data: str
    """Base64."""
    mime_type: str


@dataclass(frozen=True, slots=True)
class EmbeddedResource:
    """A resource carried in the result; exactly one of `text` and `blob` (base64) is set."""

    uri: str
    mime_type: str | None = None
    text: str | None = None
    blob: str | None = None


ContentBlock = TextContent | ImageContent | AudioContent | EmbeddedResource

_READ_BYTES = 4 * TEXT_LIMIT
"""Of a body that is text: no charset takes more for the characters that are shown."""
_LONGEST_CHARACTER = 8
"""Bytes of one character, with what shifts to its set."""

_BYTE_ORDER_MARK = codecs.BOM_UTF8
_PYTHON_ONLY = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7"})
"""Codecs that no media type means: they yield half surrogate pairs, warn, or take quadratic time."""
_MAYBE_INFINITE = re.compile(rb"[eE]\+?\d{3}|\d{309}")
"""Numbers that may be too large for a float, and would be read as infinity, which JSON cannot say."""

MISSING: Any = object()
"""Stands for "no structured content"; None would be JSON null."""


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt."""

    role: Literal["user", "assistant"]
    content: ContentBlock


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a call that reached the tool (MCP CallToolResult); of a prompt `messages`, of a resource
    `content`, which is then EmbeddedResources alone."""

    content: tuple[ContentBlock, ...]
    structured: Any = MISSING
    """Any JSON value, or MISSING."""
    is_error: bool = False
    messages: tuple[PromptMessage, ...] = ()
    headers: Headers = ()
    """What the back end said beside its answer; empty where something was taken out of it."""
    omitted: tuple[str, ...] = ()
    """JSON Pointers (RFC 6901), `*` for any name: what of the back end's answer is not in `structured`."""

    @property
    def size(self) -> int:
        """Bytes of content that go out: text as UTF-8, the rest in base64. What is structured says the same again."""
        blocks = (*self.content, *(message.content for message in self.messages))
        return sum(_size(block) for block in blocks)

    @staticmethod
    def error(text: str) -> "ToolResult":
        return ToolResult((TextContent(text),), is_error=True)


def _size(block: ContentBlock) -> int:
    match block:
        case TextContent(text):
            return len(text.encode("utf-8", "replace"))
        case EmbeddedResource():
            return len(block.blob or "") + len((block.text or "").encode("utf-8", "replace"))
        case _:
            return len(block.data)


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A back end's answer as it came: bytes with a media type."""

    body: bytes
    media_type: str
    """Lower case, without parameters; empty when the back end did not say."""
    charset: str = "utf-8"
    is_error: bool = False
    status: str = ""
    """The back end's own status for people, `404 Not Found`; shown with an error, and in place of an empty body."""
    uri: str = "stoa://result"
    """Names the content when it must be embedded as a resource."""
    headers: Headers = ()
    """What its caller gets to know of the response headers."""


def shape(answer: RawAnswer) -> ToolResult:
    """The ToolResult for a raw answer.

    JSON gives text and structured content; images, audio and other binary content give their block; everything
    else is text. Text beyond TEXT_LIMIT is cut with a note and then has no structured content, because half a
    document must not look whole. Where the new thing is, and when to come again, is said in the text as well.
    """
    if answer.headers:
        return _with_headers(shape(replace(answer, headers=())), answer)
    kind = answer.media_type
    if kind.startswith(("image/", "audio/")) and answer.body and kind != "image/svg+xml":
        return _binary(answer)
    if _is_json(kind) or not kind:
        structured = MISSING
        if len(answer.body) <= TEXT_LIMIT or _is_shown_whole(answer.body):
            structured = _parse(answer.body)
        if structured is not MISSING:
            return _text(answer, structured)
    text = _decode(answer)
    if text is None:
        return _binary(answer)
    return _text(answer, MISSING, text)


def _with_headers(result: ToolResult, answer: RawAnswer) -> ToolResult:
    content, said = result.content, told(answer.headers)
    if said:
        first = content[0]
        if (answer.is_error or not answer.body) and isinstance(first, TextContent):
            head, _, rest = first.text.partition("\n")
            content = (TextContent("\n".join(part for part in (head, said, rest) if part)),)
        else:
            content = (*content, TextContent(said))
    return ToolResult(content, result.structured, result.is_error, headers=answer.headers)


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _parse(body: bytes) -> Any:
    try:
        value = pydantic_core.from_json(body.removeprefix(_BYTE_ORDER_MARK), allow_inf_nan=False)
        if _MAYBE_INFINITE.search(body):
            pydantic_core.from_json(pydantic_core.to_json(value, inf_nan_mode="constants"), allow_inf_nan=False)
    except ValueError:
        return MISSING
    return value


def _is_shown_whole(body: bytes) -> bool:
    """Of more bytes than TEXT_LIMIT. False: as text it will be cut, and parsing it, which may take a second, would be
    for nothing."""
    if len(body) > _READ_BYTES:
        return False
    return len(body.decode("utf-8", "replace").removeprefix("\ufeff")) <= TEXT_LIMIT


def _decode(answer: RawAnswer) -> str | None:
    """The body as text by its own charset, else as UTF-8; None when it is no text. JSON is UTF-8, whatever else it says
    of itself (RFC 8259 section 8.1). Of a long body only so much is decoded as can be shown: some codecs are slow."""
    body = answer.body[:_READ_BYTES]
    charsets = ("utf-8", answer.charset) if _is_json(answer.media_type) else (answer.charset, "utf-8")
    for charset in dict.fromkeys(charsets):
        try:
            if codecs.lookup(charset).name.replace("_", "-") in _PYTHON_ONLY:
                continue
            text = _decode_start(body, charset, is_whole=len(body) == len(answer.body))
        except (ValueError, LookupError):
            continue
        if "\x00" not in text:
            return text
    return None


def _decode_start(body: bytes, charset: str, *, is_whole: bool) -> str:
    """Raises UnicodeDecodeError, but not for a character that was cut in two at the end."""
    try:
        return body.decode(charset)
    except UnicodeDecodeError as broken:
        if is_whole or broken.start < len(body) - _LONGEST_CHARACTER:
            raise
        return body[: broken.start].decode(charset)


def _text(answer: RawAnswer, structured: Any, text: str | None = None) -> ToolResult:
    if text is None:
        text = answer.body.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
    if len(answer.body) > _READ_BYTES:
        size = f"{len(answer.body)} bytes, {min(len(text), TEXT_LIMIT)} characters shown"
        text, structured = f"{text[:TEXT_LIMIT]}\n[truncated: {size}]", MISSING
    elif len(text) > TEXT_LIMIT:
        text = f"{text[:TEXT_LIMIT]}\n[truncated: {len(text)} characters, {TEXT_LIMIT} shown]"
        structured = MISSING
    if answer.is_error:
        return ToolResult.error(f"{answer.status}\n{text}" if text else answer.status)
    return ToolResult((TextContent(text or answer.status),), structured)


def _binary(answer: RawAnswer) -> ToolResult:
    kind = answer.media_type or "application/octet-stream"
    if answer.is_error or len(answer.body) > BINARY_LIMIT:
        reason = answer.status if answer.is_error else f"more than {BINARY_LIMIT} bytes"
        note = f"{reason} ({kind}, {len(answer.body)} bytes not shown)"
        return ToolResult((TextContent(note),), is_error=answer.is_error)
    data = base64.b64encode(answer.body).decode("ascii")
    if kind.startswith("image/"):
        return ToolResult((ImageContent(data, kind),))
    if kind.startswith("audio/"):
        return ToolResult((AudioContent(data, kind),))
    return ToolResult((EmbeddedResource(answer.uri, kind, blob=data),))
