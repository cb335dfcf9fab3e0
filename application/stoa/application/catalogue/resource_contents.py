"""The contents of a resource (MCP `resources/read`), from the answer of its back end."""

from dataclasses import replace

from stoa.domain.errors import ResourceNotFound
from stoa.domain.operations.resource import Resource
from stoa.domain.results.result import (
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    RawAnswer,
    ResourceLink,
    TextContent,
    ToolResult,
    shape,
)

_GONE = frozenset({"404", "410"})


def resource_contents(resource: Resource, answer: RawAnswer | ToolResult, uri: str) -> ToolResult:
    """The answer of a back end as the contents of `uri`: at least one EmbeddedResource.

    An error result stays one. Raises ResourceNotFound if the back end reports that there is no such thing.
    """
    media_type = resource.mime_type
    if isinstance(answer, RawAnswer):
        if answer.is_error and answer.status[:3] in _GONE:
            raise ResourceNotFound(uri)
        media_type = answer.media_type or media_type
        answer = shape(answer if answer.is_error else replace(answer, headers=()))  # contents are the body alone
        if any(isinstance(block, EmbeddedResource) for block in answer.content):  # its URI is the back end's
            return ToolResult(tuple(_content(block, uri, media_type, is_ours=True) for block in answer.content))
    if answer.is_error:
        return answer
    blocks = answer.content or (TextContent(""),)
    return ToolResult(tuple(_content(block, uri, media_type) for block in blocks))


def _content(block: ContentBlock, uri: str, media_type: str | None, *, is_ours: bool = False) -> EmbeddedResource:
    if isinstance(block, TextContent):
        return EmbeddedResource(uri, media_type, text=block.text, notes=block.notes)
    if isinstance(block, (ImageContent, AudioContent)):
        return EmbeddedResource(uri, block.mime_type, blob=block.data, notes=block.notes)
    if isinstance(block, ResourceLink):
        return EmbeddedResource(block.uri, block.mime_type, text=block.description or "")
    named = uri if is_ours or not block.uri else block.uri
    return EmbeddedResource(named, block.mime_type or media_type, block.text, block.blob, block.notes)
