"""Results of tools: content blocks, structured content, and the shaping of a back end's raw answer into them."""

import base64
import codecs
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import pydantic_core

from stoa.domain.results.content_notes import ContentNotes
from stoa.domain.results.cutting import MAX_VALUES, Rest, cut_json, cut_text, whole_start
from stoa.domain.results.response_headers import MAX_VALUE, TOLD, Headers, told
from stoa.domain.schema.json_value import JsonObject

TEXT_LIMIT = 256 * 1024
"""Upper bound on the characters of text in one result; clients refuse longer results or run out of context."""
BINARY_LIMIT = 5 * 1024 * 1024
"""Upper bound on the bytes of image, audio or other binary content in one result, before base64."""
SIZE_LIMIT = 4 * -(-BINARY_LIMIT // 3) + len(TOLD) * 4 * (MAX_VALUE + 16)
"""Upper bound on `ToolResult.size` of a result that `shape` makes."""


@dataclass(slots=True)  # not frozen, as ToolResult
class TextContent:
    text: str
    notes: ContentNotes | None = None


@dataclass(frozen=True, slots=True)
class ImageContent:
    data: str
    """Base64 (RFC 4648 section 4)."""
    mime_type: str
    notes: ContentNotes | None = None


@dataclass(frozen=True, slots=True)
class AudioContent:
    data: str
    """Base64."""
    mime_type: str
    notes: ContentNotes | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedResource:
    """A resource carried in the result; exactly one of `text` and `blob` (base64) is set."""

    uri: str
    mime_type: str | None = None
    text: str | None = None
    blob: str | None = None
    notes: ContentNotes | None = None


@dataclass(frozen=True, slots=True)
class ResourceLink:
    """A resource that the result names and does not carry (MCP 2025-06-18 "Resource Links")."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None
    notes: ContentNotes | None = None


ContentBlock = TextContent | ImageContent | AudioContent | EmbeddedResource | ResourceLink

_READ_BYTES = 4 * TEXT_LIMIT
"""Bytes of a text body that are decoded: no charset needs more for the characters that are shown."""
_LONGEST_CHARACTER = 8
"""Upper bound on the bytes of one character, with the escape sequence that shifts to its set."""

_QUICKLY_DECODED = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252"})
"""Charsets of which a body of megabytes is decoded in milliseconds."""

_BYTE_ORDER_MARK = codecs.BOM_UTF8
_PYTHON_ONLY = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7"})
"""Codecs of Python that no media type means: they yield half surrogate pairs, warn, or take quadratic time."""
_MAYBE_INFINITE = re.compile(rb"[eE]\+?\d{3}|\d{309}")
"""Numbers that may be too large for a float. They would be read as infinity, which JSON cannot represent."""
_SHAPE = bytes.maketrans(b"E+123456789", b"ee000000000")
_SHAPES = (b"e000", b"0" * 309)
"""Parts of each such number once its bytes are mapped by `_SHAPE`: finding them costs a tenth of the expression."""

MISSING: Any = object()
"""Marks a result without structured content; None would be JSON null."""


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt."""

    role: Literal["user", "assistant"]
    content: ContentBlock


@dataclass(slots=True)  # not frozen: one is made for every call, and freezing costs time
class ToolResult:
    """The result of a call that reached the back end (MCP CallToolResult). A prompt's has `messages`; a resource's has
    `content` of EmbeddedResources alone."""

    content: tuple[ContentBlock, ...]
    structured: Any = MISSING
    """Any JSON value, or MISSING."""
    is_error: bool = False
    messages: tuple[PromptMessage, ...] = ()
    headers: Headers = ()
    """The passed-on response headers of the back end; empty where something was redacted."""
    omitted: tuple[str, ...] = ()
    """JSON Pointers (RFC 6901), with `*` for any name, to the parts of the back end's answer that `structured` lacks.
    """
    meta: JsonObject | None = None
    """Members of `_meta`: those that the back end gave, and where the rest of a long answer is."""
    rest: Rest | None = None
    """The part that is not shown; None: all of it is shown."""

    @property
    def size(self) -> int:
        """Bytes of content sent to the caller: text as UTF-8, the rest in base64. Structured content is not counted,
        because it repeats the text."""
        blocks = (*self.content, *(message.content for message in self.messages))
        return sum(size_of(block) for block in blocks)

    @staticmethod
    def error(text: str) -> "ToolResult":
        return ToolResult((TextContent(text),), is_error=True)


def size_of(block: ContentBlock) -> int:
    """Bytes of one block, as ToolResult.size counts them."""
    match block:
        case TextContent(text):
            return len(text.encode("utf-8", "replace"))
        case EmbeddedResource():
            return len(block.blob or "") + len((block.text or "").encode("utf-8", "replace"))
        case ResourceLink():
            texts = (block.uri, block.name, block.title or "", block.description or "")
            return sum(len(text.encode("utf-8", "replace")) for text in texts)
        case _:
            return len(block.data)


@dataclass(slots=True)  # not frozen, as ToolResult
class RawAnswer:
    """A back end's answer before it is shaped: bytes with a media type."""

    body: bytes
    media_type: str
    """Lower case, without parameters; empty if the back end sent none."""
    charset: str = "utf-8"
    is_error: bool = False
    status: str = ""
    """The back end's own status in words, `404 Not Found`; shown with an error, and in place of an empty body."""
    uri: str = "stoa://result"
    """The URI of the content when it must be embedded as a resource."""
    headers: Headers = ()
    """The response headers that the caller gets to see."""
    is_cut: bool = False
    """The body is the start of one that is longer than the gateway takes."""


def shape(answer: RawAnswer) -> ToolResult:
    """The ToolResult for a raw answer.

    JSON gives text and structured content; images, audio and other binary content give their block; everything else is
    text. Text beyond TEXT_LIMIT is cut with a note and then has no structured content, because half a document must not
    look whole. The headers of `TOLD` are repeated in the text.
    """
    if answer.headers:
        return _with_headers(shape(replace(answer, headers=())), answer)
    if answer.is_cut:
        result = shape(_whole_start(answer))
        return replace(result, content=(*result.content, TextContent(f"[truncated: {_unread(answer)}]")))
    kind = answer.media_type
    if kind == "application/json" and len(answer.body) <= TEXT_LIMIT and not answer.is_error:  # as most answers
        structured = _parse(answer.body)
        if structured is not MISSING:
            return ToolResult((TextContent(answer.body.removeprefix(_BYTE_ORDER_MARK).decode()),), structured)
    if kind.startswith(("image/", "audio/")) and answer.body and kind != "image/svg+xml":
        return _binary(answer)
    if kind == "application/json" or _is_json(kind) or not kind:
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
    content, repeated = result.content, told(answer.headers)
    if answer.status.startswith("202") and any(name == "Location" for name, _ in answer.headers):
        repeated += "\nThe work goes on (202 Accepted); read its state at Location."
    if repeated:
        first = content[0]
        if (answer.is_error or not answer.body) and isinstance(first, TextContent):
            head, _, rest = first.text.partition("\n")
            content = (TextContent("\n".join(part for part in (head, repeated, rest) if part)),)
        else:
            content = (*content, TextContent(repeated))
    return replace(result, content=content, headers=answer.headers)


def shape_long(answer: RawAnswer, limit: int) -> ToolResult:
    """Like `shape`, for an answer that may have more than `limit` characters: such a text is cut where its structure
    allows it, and the rest is made into pieces. It may take a second, in small steps."""
    if answer.is_error or (answer.media_type.startswith(("image/", "audio/")) and answer.media_type != "image/svg+xml"):
        return shape(answer)
    if answer.headers:
        return _with_headers(shape_long(replace(answer, headers=()), limit), answer)
    if answer.is_cut:
        result = shape_long(_whole_start(answer), limit)
        omitted = _unread(answer) if result.rest is None else f"{result.rest.omitted}; {_unread(answer)}"
        return replace(result, rest=Rest(omitted, () if result.rest is None else result.rest.pieces))
    body = answer.body.removeprefix(_BYTE_ORDER_MARK)
    if not answer.media_type or _is_json(answer.media_type):
        if len(body) <= limit or (len(body) <= 4 * limit and len(body.decode("utf-8", "replace")) <= limit):
            return shape(answer)
        cut = cut_json(body, limit)
        structured = MISSING if cut is None else _parse(cut.text.encode())
        if cut is not None and structured is not MISSING:
            return ToolResult((TextContent(cut.text),), structured, rest=cut.rest)
    text = _decode(answer)
    if text is None or (len(text) <= limit and len(answer.body) <= _READ_BYTES):
        return shape(answer)
    unread = ""
    if len(answer.body) > _READ_BYTES:
        if _is_json(answer.media_type) or answer.charset in _QUICKLY_DECODED:
            text = _decoded_whole(answer)
        else:
            unread = f"; what follows in its {len(answer.body)} bytes is not read"
    text_cut = cut_text(text, limit)
    rest = replace(text_cut.rest, omitted=text_cut.rest.omitted + unread)
    return ToolResult((TextContent(text_cut.text),), rest=rest)


def _whole_start(answer: RawAnswer) -> RawAnswer:
    """An answer of which only the start is there, ended where its structure allows it: JSON stays JSON."""
    body = None
    if not answer.is_error and (not answer.media_type or _is_json(answer.media_type)):
        body = whole_start(answer.body.removeprefix(_BYTE_ORDER_MARK))
    kind = answer.media_type if body is not None or not _is_json(answer.media_type) else "text/plain"
    return replace(answer, body=answer.body if body is None else body, media_type=kind, is_cut=False)


def _unread(answer: RawAnswer) -> str:
    return f"what follows the first {len(answer.body)} bytes of the answer was not read"


def parsed_whole(answer: RawAnswer) -> Any:
    """The JSON value of an answer of any length; MISSING if it is none, or holds so many values that reading it would
    hold up other calls."""
    is_json = not answer.is_cut and (not answer.media_type or _is_json(answer.media_type))
    if not is_json or answer.body.count(b",") > MAX_VALUES or answer.body.count(b"[") > MAX_VALUES:
        return MISSING
    return _parse(answer.body)


def _decoded_whole(answer: RawAnswer) -> str:
    try:
        return answer.body.decode("utf-8" if _is_json(answer.media_type) else answer.charset)
    except UnicodeDecodeError:
        return answer.body.decode("utf-8", "replace")


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _parse(body: bytes) -> Any:
    try:
        value = pydantic_core.from_json(body.removeprefix(_BYTE_ORDER_MARK), allow_inf_nan=False)
        numbers = body.translate(_SHAPE)
        if (_SHAPES[0] in numbers or _SHAPES[1] in numbers) and _MAYBE_INFINITE.search(body):
            pydantic_core.from_json(pydantic_core.to_json(value, inf_nan_mode="constants"), allow_inf_nan=False)
    except ValueError:
        return MISSING
    return value


def _is_shown_whole(body: bytes) -> bool:
    """True if a body of more than TEXT_LIMIT bytes still fits as text. Otherwise the text will be cut, and parsing it,
    which may take a second, would be wasted."""
    if len(body) > _READ_BYTES:
        return False
    return len(body.decode("utf-8", "replace").removeprefix("\ufeff")) <= TEXT_LIMIT


def _decode(answer: RawAnswer) -> str | None:
    """The body as text by its own charset, else as UTF-8; None if it is not text. JSON is UTF-8 regardless of a
    declared charset (RFC 8259 section 8.1). A long body is decoded only as far as it can be shown: some codecs are
    slow."""
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
    """The decoded start of a body. Raises UnicodeDecodeError, except for a character cut in two at the end."""
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
