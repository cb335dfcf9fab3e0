"""Answers of an upstream server as results: CallToolResult, ReadResourceResult, GetPromptResult.

Texts and data are bounded as those of any back end are. What is no content of MCP is told, not guessed at.
"""

from dataclasses import replace
from typing import Any, Literal

import pydantic_core

from stoa.domain.errors import BackendProtocolError
from stoa.domain.operations.binding import is_base64
from stoa.domain.results.result import (
    BINARY_LIMIT,
    MISSING,
    SIZE_LIMIT,
    TEXT_LIMIT,
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    ResourceLink,
    TextContent,
    ToolResult,
    size_of,
)
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.infrastructure.mcp_upstream.notes import content_notes, kept_meta

MAX_BLOCKS = 1000
STRUCTURED_LIMIT = 4 * TEXT_LIMIT
"""Upper bound on the bytes of structured content."""
_BASE64_LIMIT = 4 * -(-BINARY_LIMIT // 3)

Method = Literal["tools/call", "resources/read", "prompts/get"]


def result_of(method: Method, result: JsonObject, uri_prefix: str, whose: str) -> ToolResult:
    """`uri_prefix`: stands before the upstream's URIs, so that a client can read what they name. Raises
    BackendProtocolError for a result without the members that the method's has."""
    match method:
        case "tools/call":
            return _tool_result(result, uri_prefix, whose)
        case "resources/read":
            return _contents(result, uri_prefix, whose)
        case "prompts/get":
            return _messages(result, uri_prefix, whose)


def content_blocks(listed: Any, uri_prefix: str) -> tuple[ContentBlock, ...]:
    """The blocks, of which one that cannot be read is told as text."""
    blocks: list[ContentBlock] = []
    room = SIZE_LIMIT
    for number, wire in enumerate(listed if is_array(listed) else []):
        members = as_object(wire)
        block = _block(members, uri_prefix)
        # A block of two members, its type and its text, has no notes.
        if len(members) > 2 and (notes := content_notes(members)) is not None:
            block = replace(block, notes=notes)
        room -= size_of(block)
        if room < 0 or number >= MAX_BLOCKS:
            blocks.append(TextContent(f"[truncated: {len(listed) - number} of {len(listed)} blocks not shown]"))
            break
        blocks.append(block)
    return tuple(blocks)


def _tool_result(result: JsonObject, uri_prefix: str, whose: str) -> ToolResult:
    listed = result.get("content")
    if not is_array(listed) and not ("structuredContent" in result or "toolResult" in result):
        raise _no_result(whose, "content")
    blocks = content_blocks(listed, uri_prefix)
    if result.get("isError") is True:
        return ToolResult(
            blocks or (TextContent("the tool failed"),), is_error=True, meta=kept_meta(result.get("_meta"))
        )
    structured, meta = result.get("structuredContent", MISSING), kept_meta(result.get("_meta"))
    if structured is MISSING:
        return ToolResult(blocks, meta=meta)
    text = pydantic_core.to_json(structured)
    if len(text) > STRUCTURED_LIMIT:
        note = TextContent(f"[structured content of {len(text)} bytes not shown]")
        return ToolResult((*blocks, note), meta=meta)
    return ToolResult(blocks or (TextContent(text.decode()),), structured, meta=meta)


def _contents(result: JsonObject, uri_prefix: str, whose: str) -> ToolResult:
    listed = result.get("contents")
    if not is_array(listed):
        raise _no_result(whose, "contents")
    wire = [{"type": "resource", "resource": each, "_meta": as_object(each).get("_meta")} for each in listed]
    blocks = content_blocks(wire, uri_prefix)
    # A block that could not be read, or was left out, is no contents of the resource's type.
    return ToolResult(tuple(_told(block) if isinstance(block, TextContent) else block for block in blocks))


def _told(block: TextContent) -> EmbeddedResource:
    return EmbeddedResource("", "text/plain", text=block.text)


def _messages(result: JsonObject, uri_prefix: str, whose: str) -> ToolResult:
    listed = result.get("messages")
    if not is_array(listed):
        raise _no_result(whose, "messages")
    roles = [as_object(each).get("role") for each in listed]
    blocks = content_blocks([as_object(each).get("content") for each in listed], uri_prefix)
    roles += ["user"] * (len(blocks) - len(roles))
    return ToolResult(
        (),
        messages=tuple(
            PromptMessage("assistant" if role == "assistant" else "user", block)
            for role, block in zip(roles, blocks, strict=False)
        ),
    )


def _block(wire: JsonObject, uri_prefix: str) -> ContentBlock:
    match wire:
        case {"type": "text", "text": str(text)}:
            return TextContent(_cut(text))
        case {"type": "image", "data": str(data), "mimeType": str(mime_type)}:
            return _binary(data, mime_type) or ImageContent(data, mime_type)
        case {"type": "audio", "data": str(data), "mimeType": str(mime_type)}:
            return _binary(data, mime_type) or AudioContent(data, mime_type)
        case {"type": "resource", "resource": resource} if is_object(resource):
            return _resource(resource, uri_prefix)
        case {"type": "resource_link", "uri": str(uri)}:
            return _link(wire, uri_prefix + uri)
        case _:
            kind = wire.get("type")
            return TextContent(f"[content of type {str(kind)[:40]!r} that this gateway cannot show]")


def _resource(resource: JsonObject, uri_prefix: str) -> ContentBlock:
    media_type = resource.get("mimeType")
    block = EmbeddedResource(
        uri_prefix + str(resource.get("uri", ""))[:2048], media_type if isinstance(media_type, str) else None
    )
    match resource:
        case {"text": str(text)}:
            return replace(block, text=_cut(text))
        case {"blob": str(blob)}:
            return _binary(blob, block.mime_type or "application/octet-stream") or replace(block, blob=blob)
        case _:
            return TextContent("[a resource without text or blob]")


def _link(wire: JsonObject, uri: str) -> ResourceLink:
    def text(name: str) -> str | None:
        value = wire.get(name)
        return _cut(value) if isinstance(value, str) else None

    size = wire.get("size")
    return ResourceLink(
        uri[:2048],
        text("name") or uri[:2048],
        title=text("title"),
        description=text("description"),
        mime_type=text("mimeType"),
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
    )


def _binary(data: str, media_type: str) -> TextContent | None:
    """What is told in place of data that cannot be passed on."""
    if len(data) > _BASE64_LIMIT:
        return TextContent(f"more than {BINARY_LIMIT} bytes ({media_type[:100]}, not shown)")
    return None if is_base64(data) else TextContent(f"[{media_type[:100]} that is no base64, not shown]")


def _cut(text: str) -> str:
    if len(text) <= TEXT_LIMIT:
        return text
    return f"{text[:TEXT_LIMIT]}\n[truncated: {len(text)} characters, {TEXT_LIMIT} shown]"


def _no_result(whose: str, member: str) -> BackendProtocolError:
    return BackendProtocolError(f"The back end of {whose} failed: its result has no {member}")
