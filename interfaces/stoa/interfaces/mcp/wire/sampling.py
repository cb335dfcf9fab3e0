"""sampling/createMessage as each revision writes it."""

from collections.abc import Mapping
from typing import Any

from stoa.domain.client_requests.sampling import (
    ModelPreferences,
    SamplingAnswer,
    SamplingContent,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    ToolUse,
    ToolUseResult,
)
from stoa.domain.results.result import AudioContent, ImageContent, TextContent
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.revisions import Revision


def params(request: SamplingRequest, revision: Revision) -> JsonObject:
    """The params of a request, without members that are not set. Only clients of revisions that have tools are offered
    some."""
    wished = request.model_preferences
    return _without_none({
        "messages": [wire for message in request.messages for wire in _message(message, revision)],
        "maxTokens": request.max_tokens,
        "systemPrompt": request.system_prompt,
        "modelPreferences": None if wished is None else _preferences(wished),
        "temperature": request.temperature,
        "stopSequences": list(request.stop_sequences) or None,
        "metadata": request.metadata,
        "includeContext": None if request.include_context == "none" else request.include_context,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "toolChoice": None if request.tool_choice is None else {"mode": request.tool_choice},
    })  # fmt: skip


def answer(result: JsonObject, revision: Revision) -> SamplingAnswer | None:
    """The answer that a result holds; None if the revision does not allow it. One block is an answer in every revision,
    a list of blocks since 2025-11-25."""
    content, role, model = result.get("content"), result.get("role"), result.get("model")
    if is_array(content) and not revision.has_content_lists:
        return None
    blocks = [_read(block) for block in (content if is_array(content) else [content])]
    readable = tuple(block for block in blocks if block is not None)
    if len(readable) < len(blocks) or role not in {"user", "assistant"} or not isinstance(model, str):
        return None
    reason = result.get("stopReason")
    return SamplingAnswer(readable, model, role, reason if isinstance(reason, str) else None)


def read_request(wire: JsonObject) -> SamplingRequest:
    """A request that the same answers fit as the one whose `params` these are: they may use the tools it offers. Raises
    LookupError or InvalidInput for what `params` did not write."""
    choice = as_object(wire.get("toolChoice")).get("mode")
    offered = tuple(SamplingTool(tool["name"], "", {}) for tool in wire.get("tools", ()))
    return SamplingRequest(
        messages=(SamplingMessage("user", TextContent("")),),
        max_tokens=wire["maxTokens"],
        tools=offered,
        tool_choice=choice,
    )


def _message(message: SamplingMessage, revision: Revision) -> list[JsonObject]:
    """The message as wire objects: in revisions with one block a message, several blocks become several messages of the
    same role."""
    blocks = [_write(block, revision) for block in message.blocks]
    if len(blocks) > 1 and revision.has_content_lists:
        return [{"role": message.role, "content": blocks}]
    return [{"role": message.role, "content": block} for block in blocks]


def _write(block: SamplingContent, revision: Revision) -> JsonObject:
    match block:
        case ToolUse():
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
        case ToolUseResult():
            wire: JsonObject = {
                "type": "tool_result",
                "toolUseId": block.tool_use_id,
                "content": [shaping.content_block(content, revision) for content in block.content],
            }
            if shaping.fits_structured(block.structured, revision):
                wire["structuredContent"] = block.structured
            return wire | ({"isError": True} if block.is_error else {})
        case _:
            return shaping.content_block(block, revision)


def _read(block: Any) -> SamplingContent | None:
    members = as_object(block)
    match members.get("type"), members.get("text"), members.get("data"), members.get("mimeType"):
        case "text", str(text), _, _:
            return TextContent(text)
        case "image", _, str(data), str(mime_type):
            return ImageContent(data, mime_type)
        case "audio", _, str(data), str(mime_type):
            return AudioContent(data, mime_type)
        case "tool_use", _, _, _:
            use_id, name, given = members.get("id"), members.get("name"), members.get("input")
            is_whole = isinstance(use_id, str) and isinstance(name, str) and is_object(given)
            return ToolUse(str(use_id), str(name), as_object(given)) if is_whole else None
        case _:
            return None


def _preferences(wished: ModelPreferences) -> JsonObject:
    return _without_none({
        "hints": [{"name": name} for name in wished.hints] or None,
        "costPriority": wished.cost_priority,
        "speedPriority": wished.speed_priority,
        "intelligencePriority": wished.intelligence_priority,
    })  # fmt: skip


def _tool(tool: SamplingTool) -> JsonObject:
    return {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}


def _without_none(members: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in members.items() if value is not None}
