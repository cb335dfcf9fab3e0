"""Writes results of tools/call as JSON-RPC responses."""

from collections.abc import Sequence

from pydantic_core import to_json

from stoa.domain.results.result import TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import RequestId
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.revisions import SERVER_INFO_KEY, Revision


class ToolAnswers:
    def __init__(self, server_info: JsonObject) -> None:
        self._server_info = server_info
        end = to_json({"resultType": "complete", "_meta": {SERVER_INFO_KEY: server_info}})
        self._ends = {True: b"," + end[1:] + b"}", False: b"}}"}
        """The bytes after the result's own members, by `Revision.is_stateless`."""

    def write(
        self,
        request_id: RequestId,
        result: ToolResult,
        revision: Revision,
        coerced: Sequence[str] = (),
        tolerated: Sequence[str] = (),
    ) -> bytes:
        """The response to `request_id`. `coerced` and `tolerated`: see `shaping.tool_result`, which this writes in one
        step for the usual result: one text, and what it says as structured content."""
        blocks = result.content
        text = blocks[0] if len(blocks) == 1 else None
        if (
            not isinstance(text, TextContent)
            or text.notes is not None
            or result.is_error
            or coerced
            or tolerated
            or result.headers
            or result.omitted
            or result.meta
            or result.structured.__class__ is not dict
            or not revision.has_structured_content
        ):
            wire = shaping.tool_result(result, revision, coerced, tolerated)
            return messages.result(request_id, shaping.with_meta(wire, revision, self._server_info))
        return (
            b'{"jsonrpc":"2.0","id":%b,"result":{"content":[{"type":"text","text":%b}],"structuredContent":%b%b'
        ) % (to_json(request_id), to_json(text.text), to_json(result.structured), self._ends[revision.is_stateless])
