"""Writes domain values as each revision defines them."""

from collections.abc import Iterable, Sequence
from typing import Any

import pydantic_core

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.schemas.output_schema import relaxed
from stoa.domain.operations.icon import Icon
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.prompt import Prompt, PromptArgument
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Fingerprint, Tool
from stoa.domain.results.content_notes import ContentNotes
from stoa.domain.results.result import (
    MISSING,
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    ToolResult,
)
from stoa.domain.schema.inlining import inlined
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.wire.revisions import SERVER_INFO_KEY, Revision

COERCED_KEY = "dev.gostoa/coerced"
"""Pointers to arguments that were understood otherwise than written (docs/decisions/0042)."""
TOLERATED_KEY = "dev.gostoa/tolerated"
"""Pointers to arguments that miss the schema and were let through (docs/decisions/0062)."""
OMITTED_KEY = "dev.gostoa/omitted"
"""Pointers to values left out of the structured content, because they violate the output schema."""
HEADERS_KEY = "dev.gostoa/headers"
"""Response headers of the back end, by name."""
_CACHE_LIMIT = 50_000


def tool_result(
    result: ToolResult, revision: Revision, coerced: Sequence[str] = (), tolerated: Sequence[str] = ()
) -> JsonObject:
    """CallToolResult. Structured content is left out where the revision cannot carry it, and with an error, because
    clients hold it against the output schema regardless. `coerced`: the arguments that were understood otherwise than
    written; `tolerated`: those that miss the schema and were let through."""
    blocks = result.content
    if len(blocks) == 1 and isinstance(text := blocks[0], TextContent) and text.notes is None:  # as most results are
        content = [{"type": "text", "text": text.text}]
    else:
        content = [content_block(block, revision) for block in blocks]
    wire: JsonObject = {"content": content}
    if result.is_error:
        wire["isError"] = True
    elif fits_structured(result.structured, revision):
        wire["structuredContent"] = result.structured
    if coerced or tolerated or result.headers or result.omitted or result.meta:
        wire["_meta"] = _call_meta(result, coerced, tolerated)
    return wire


def _call_meta(result: ToolResult, coerced: Sequence[str], tolerated: Sequence[str]) -> JsonObject:
    meta: JsonObject = dict(result.meta or {})
    if coerced:
        meta[COERCED_KEY] = list(coerced)
    if tolerated:
        meta[TOLERATED_KEY] = list(tolerated)
    if result.omitted:
        meta[OMITTED_KEY] = list(result.omitted)
    if result.headers:
        meta[HEADERS_KEY] = dict(result.headers)
    return meta


def fits_structured(structured: Any, revision: Revision) -> bool:
    if structured is MISSING or not revision.has_structured_content:
        return False
    return revision.allows_any_structured or isinstance(structured, dict)


def content_block(block: ContentBlock, revision: Revision) -> JsonObject:
    """One block of content."""
    if isinstance(block, TextContent):
        wire: JsonObject = {"type": "text", "text": block.text}
    elif isinstance(block, ImageContent):
        wire = {"type": "image", "data": block.data, "mimeType": block.mime_type}
    elif isinstance(block, AudioContent):
        if not revision.has_audio:
            return {"type": "text", "text": f"[audio, {block.mime_type}, cannot be shown to this client]"}
        wire = {"type": "audio", "data": block.data, "mimeType": block.mime_type}
    elif isinstance(block, ResourceLink):
        wire = _link(block, revision)
    else:
        wire = {"type": "resource", "resource": _contents(block)}
    return wire if block.notes is None else {**wire, **_notes(block.notes, revision)}


def _notes(notes: ContentNotes, revision: Revision) -> JsonObject:
    annotations: JsonObject = {}
    if notes.audience:
        annotations["audience"] = list(notes.audience)
    if notes.priority is not None:
        annotations["priority"] = notes.priority
    if notes.last_modified is not None and revision.has_content_meta:
        annotations["lastModified"] = notes.last_modified
    wire: JsonObject = {"annotations": annotations} if annotations else {}
    return {**wire, "_meta": notes.meta} if notes.meta and revision.has_content_meta else wire


def _link(link: ResourceLink, revision: Revision) -> JsonObject:
    if not revision.has_resource_links:
        return {"type": "text", "text": f"[resource {link.uri}]"}
    members = {
        "uri": link.uri,
        "name": link.name,
        "title": link.title,
        "description": link.description,
        "mimeType": link.mime_type,
        "size": link.size,
    }
    return {"type": "resource_link", **{name: value for name, value in members.items() if value is not None}}


def _contents(block: EmbeddedResource) -> JsonObject:
    members = {"uri": block.uri, "mimeType": block.mime_type, "text": block.text, "blob": block.blob}
    return {name: value for name, value in members.items() if value is not None}


def tool(tool: Tool, revision: Revision, *, is_faithful: bool = False) -> JsonObject:
    """One entry of tools/list. Its output schema is relaxed in any case, because clients refuse real results that
    violate it."""
    hints = tool.hints
    annotations: JsonObject = {
        "title": None if revision.has_titles else tool.title,
        "readOnlyHint": hints.read_only_hint,
        "destructiveHint": hints.destructive_hint,
        "idempotentHint": hints.idempotent_hint,
        "openWorldHint": hints.open_world_hint,
    }
    annotations = {name: value for name, value in annotations.items() if value is not None}
    wire: JsonObject = {"name": tool.name}
    if tool.title is not None and revision.has_titles:
        wire["title"] = tool.title
    wire["description"] = tool.description
    wire["inputSchema"] = tool.input_schema if is_faithful else tool.portable_input_schema
    if tool.output_schema is not None and revision.has_structured_content:
        wire["outputSchema"] = relaxed(tool.output_schema if is_faithful else inlined(tool.output_schema))
    if annotations and revision.has_annotations:
        wire["annotations"] = annotations
    return with_icons(wire, tool.icons, revision)


def with_icons(wire: JsonObject, icons: Iterable[Icon], revision: Revision) -> JsonObject:
    """Returns `wire` with icons, if the revision has them."""
    if revision.has_icons and (written := [_icon(icon) for icon in icons]):
        wire["icons"] = written
    return wire


def _icon(icon: Icon) -> JsonObject:
    wire: JsonObject = {
        "src": icon.src,
        "mimeType": icon.mime_type,
        "sizes": list(icon.sizes) or None,
        "theme": icon.theme,
    }
    return {name: value for name, value in wire.items() if value is not None}


def resource(resource: Resource, revision: Revision) -> JsonObject:
    """One entry of resources/list or resources/templates/list."""
    wire: JsonObject = {
        "uriTemplate" if resource.is_template else "uri": resource.uri,
        "name": resource.name or resource.uri,
        "title": resource.title if revision.has_titles else None,
        "description": resource.description or None,
        "mimeType": resource.mime_type,
        "size": None if resource.is_template else resource.size,
    }
    wire = {name: value for name, value in wire.items() if value is not None}
    return with_icons(wire, resource.icons, revision)


def resource_contents(result: ToolResult) -> list[JsonObject]:
    """`contents` of resources/read."""
    return [
        _contents(block) | ({"_meta": block.notes.meta} if block.notes is not None and block.notes.meta else {})
        for block in result.content
        if isinstance(block, EmbeddedResource)
    ]


def prompt(prompt: Prompt, revision: Revision) -> JsonObject:
    """One entry of prompts/list."""
    wire: JsonObject = {"name": prompt.name}
    if prompt.title is not None and revision.has_titles:
        wire["title"] = prompt.title
    if prompt.description:
        wire["description"] = prompt.description
    if prompt.arguments:
        wire["arguments"] = [_argument(argument, revision) for argument in prompt.arguments]
    return with_icons(wire, prompt.icons, revision)


def _argument(argument: PromptArgument, revision: Revision) -> JsonObject:
    wire: JsonObject = {"name": argument.name}
    if argument.title is not None and revision.has_titles:
        wire["title"] = argument.title
    if argument.description:
        wire["description"] = argument.description
    wire["required"] = argument.required
    return wire


def prompt_messages(result: ToolResult, revision: Revision) -> list[JsonObject]:
    """`messages` of prompts/get."""
    return [{"role": message.role, "content": content_block(message.content, revision)} for message in result.messages]


def entry(operation: Operation, revision: Revision, *, is_faithful: bool = False) -> JsonObject:
    """One entry of the list of its kind."""
    match operation:
        case Resource():
            return resource(operation, revision)
        case Prompt():
            return prompt(operation, revision)
        case Tool():
            return tool(operation, revision, is_faithful=is_faithful)
        case _:
            raise TypeError(f"{type(operation).__name__} has no list")


def catalogue_entry(operation: Operation, revision: Revision) -> JsonObject:
    """One entry of the REST door's lists, which name the owner and the filters too."""
    rest = {
        "tags": list(operation.tags),
        "category": operation.category,
        "version": operation.version,
        "tenantId": operation.tenant,
    }
    return {**entry(operation, revision), **{name: value for name, value in rest.items() if value is not None}}


class EntryJson:
    """List entries as bytes, made once per entry, revision and form: a list of a thousand tools is then one join."""

    def __init__(self) -> None:
        self._cache: BoundedCache[tuple[Fingerprint, str, bool], bytes] = BoundedCache(_CACHE_LIMIT)

    def of(self, item: Operation, revision: Revision, *, is_faithful: bool) -> bytes:
        key = (item.fingerprint, revision.name, is_faithful)
        cached = self._cache.get(key)
        if cached is None:
            cached = pydantic_core.to_json(entry(item, revision, is_faithful=is_faithful))
            self._cache.put(key, cached)  # replaced tools leave their entries behind, until newer ones evict them
        return cached


def with_meta(wire: JsonObject, revision: Revision, server_info: JsonObject, **rest: Any) -> JsonObject:
    """A complete result: the stateless era adds its type, the server's identity, and `rest` (caching hints)."""
    if not revision.is_stateless:
        return wire
    return {
        **wire,
        "resultType": "complete",
        **rest,
        "_meta": {**wire.get("_meta", {}), SERVER_INFO_KEY: server_info},
    }
