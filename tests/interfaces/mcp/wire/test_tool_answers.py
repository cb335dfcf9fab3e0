"""Results of tools/call are the same bytes whichever way they are written."""

import json

import pytest

from stoa.domain.results.content_notes import ContentNotes
from stoa.domain.results.result import MISSING, ImageContent, TextContent, ToolResult
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.wire.tool_answers import ToolAnswers
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.revisions import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, Revision

REVISIONS = [*HANDSHAKE_REVISIONS.values(), *STATELESS_REVISIONS.values()]
SERVER = {"name": "gateway", "version": "1"}
TEXT = TextContent('{"a": "é\u2028\\n"}')
RESULTS = {
    "plain": ToolResult((TEXT,), {"a": "é\u2028\n", "n": [1, 1.5, None, True, 1e300, 12345678901234567890]}),
    "empty object": ToolResult((TextContent("{}"),), {}),
    "text alone": ToolResult((TEXT,)),
    "a list": ToolResult((TEXT,), [1]),
    "null": ToolResult((TEXT,), None),
    "an error": ToolResult((TEXT,), {"a": 1}, is_error=True),
    "two blocks": ToolResult((TEXT, ImageContent("aGk=", "image/png")), {"a": 1}),
    "with headers": ToolResult((TEXT,), {"a": 1}, headers=(("ETag", "1"),)),
    "with omissions": ToolResult((TEXT,), {"a": 1}, omitted=("/b",)),
    "with meta": ToolResult((TEXT,), {"a": 1}, meta={"b": 1}),
}


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.name)
@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("request_id", [7, 'a"b'])
def test_tool_answer_is_what_the_shape_of_its_result_says(
    result: ToolResult, revision: Revision, request_id: int | str
) -> None:
    wire = shaping.with_meta(shaping.tool_result(result, revision), revision, SERVER)
    assert ToolAnswers(SERVER).write(request_id, result, revision) == messages.result(request_id, wire)


def test_tool_answer_notes_what_was_coerced_or_tolerated() -> None:
    answer = json.loads(ToolAnswers(SERVER).write(1, RESULTS["plain"], REVISIONS[-1], ("/a",), ("/b",)))
    meta = answer["result"]["_meta"]
    assert (meta[shaping.COERCED_KEY], meta[shaping.TOLERATED_KEY]) == (["/a"], ["/b"])


def test_tool_answer_keeps_the_notes_of_a_single_text() -> None:
    result = ToolResult((TextContent("hello", ContentNotes(audience=("user",))),), MISSING)
    content = json.loads(ToolAnswers(SERVER).write(1, result, REVISIONS[-1]))["result"]["content"]
    assert content == [{"type": "text", "text": "hello", "annotations": {"audience": ["user"]}}]
