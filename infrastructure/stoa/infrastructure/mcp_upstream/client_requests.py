"""Client requests as an upstream server writes them, and the answers as it reads them (MCP "Client features")."""

import secrets
from typing import Any

from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    ElicitationAnswer,
    ElicitationRequest,
    ModelPreferences,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingContent,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    ToolUse,
    ToolUseResult,
    UrlElicitationRequest,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.results.result import MISSING, AudioContent, ImageContent, TextContent
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.schema.plain_text import plain
from stoa.infrastructure.mcp_upstream.messages import INVALID_PARAMS, METHOD_NOT_FOUND, UpstreamFault
from stoa.infrastructure.mcp_upstream.results import content_blocks

ALL_CAPABILITIES = ClientCapabilities(
    sampling=True, sampling_tools=True, sampling_context=True, elicitation=True, elicitation_url=True, roots=True
)
"""Declared when a server is asked what it offers: some offer a tool only to clients that can serve it."""
MAX_TEXT = 100_000
"""Characters of a message that is shown to a person."""
MAX_SAMPLED_TEXT = 5 * MAX_TEXT
"""Characters of all messages of a sampling request."""
MAX_BLOCKS = 1000

_CHOICES = {"auto": "auto", "required": "required", "none": "none"}
_CONTEXTS = {"thisServer": "thisServer", "allServers": "allServers"}


def declared(capabilities: ClientCapabilities) -> JsonObject:
    """The capabilities as a client declares them."""
    wire: JsonObject = {}
    if capabilities.sampling:
        parts = {"tools": capabilities.sampling_tools, "context": capabilities.sampling_context}
        wire["sampling"] = {name: {} for name, is_there in parts.items() if is_there}
    modes = {"form": capabilities.elicitation, "url": capabilities.elicitation_url}
    if any(modes.values()):
        wire["elicitation"] = {name: {} for name, is_there in modes.items() if is_there}
    if capabilities.roots:
        wire["roots"] = {}
    return wire


def missing_of(required: Any) -> tuple[str, ...]:
    """The capabilities of an error's `requiredCapabilities`, with the names that ClientCapabilityMissing has."""
    names: list[str] = []
    for name, details in as_object(required).items():
        if name == "extensions":
            names += as_object(details)
        elif name == "elicitation" and "url" in as_object(details):
            names.append("elicitation.url")
        else:
            names += [name, *(f"{name}.{detail}" for detail in as_object(details) if detail != "form")]
    return tuple(names)


def read_request(method: str, params: JsonObject) -> ClientRequest:
    """Raises UpstreamFault for a request that is unknown or cannot be passed on."""
    try:
        match method:
            case "sampling/createMessage":
                return _sampling(params)
            case "elicitation/create":
                return _elicitation(params)
            case "roots/list":
                return RootsRequest()
            case _:
                raise UpstreamFault(METHOD_NOT_FOUND, "Method not found")
    except InvalidInput as refused:
        raise UpstreamFault(INVALID_PARAMS, refused.message) from None


def written_answer(request: ClientRequest, answer: ClientAnswer) -> JsonObject:
    """The result that answers the request."""
    match answer:
        case SamplingAnswer():
            blocks = [_block(block) for block in answer.content]
            content: Any = blocks[0] if len(blocks) == 1 else blocks
            wire: JsonObject = {"role": answer.role, "content": content, "model": answer.model}
            return wire if answer.stop_reason is None else {**wire, "stopReason": answer.stop_reason}
        case ElicitationAnswer():
            is_filled_in = answer.action == "accept" and isinstance(request, ElicitationRequest)
            return {"action": answer.action, **({"content": dict(answer.content)} if is_filled_in else {})}
        case RootsAnswer():
            return {
                "roots": [
                    {"uri": root.uri} if root.name is None else {"uri": root.uri, "name": root.name}
                    for root in answer.roots
                ]
            }


def _elicitation(params: JsonObject) -> ClientRequest:
    message = _text(params.get("message"))
    if params.get("mode") == "url":
        elicitation_id = params.get("elicitationId")
        # The stateless era has no ids; the gateway's own clients may need one.
        named = elicitation_id if isinstance(elicitation_id, str) and elicitation_id else secrets.token_urlsafe(16)
        return UrlElicitationRequest(message, str(params.get("url", "")), named)
    return ElicitationRequest(message, as_object(params.get("requestedSchema")))


def _sampling(params: JsonObject) -> SamplingRequest:
    listed, tools = params.get("messages"), params.get("tools")
    max_tokens, temperature = params.get("maxTokens"), params.get("temperature")
    if not is_array(listed) or not isinstance(max_tokens, int) or isinstance(max_tokens, bool):
        raise InvalidInput("sampling: messages and maxTokens are required")
    if sum(_characters(as_object(each).get("content")) for each in listed) > MAX_SAMPLED_TEXT:
        raise InvalidInput(f"sampling: its messages have more than {MAX_SAMPLED_TEXT} characters of text")
    stops = params.get("stopSequences")
    wished = params.get("modelPreferences")
    choice = as_object(params.get("toolChoice")).get("mode")
    system, metadata = params.get("systemPrompt"), params.get("metadata")
    return SamplingRequest(
        messages=tuple(_message(as_object(each)) for each in listed),
        max_tokens=max_tokens,
        system_prompt=system if isinstance(system, str) else None,
        temperature=float(temperature) if isinstance(temperature, (int, float)) else None,
        stop_sequences=tuple(stop for stop in (stops if is_array(stops) else []) if isinstance(stop, str)),
        model_preferences=_preferences(wished) if is_object(wished) else None,
        tools=tuple(_tool(as_object(each)) for each in (tools if is_array(tools) else [])),
        tool_choice=_CHOICES.get(choice) if isinstance(choice, str) and tools else None,  # type: ignore[arg-type]
        metadata=metadata if is_object(metadata) else None,
        include_context=_CONTEXTS.get(str(params.get("includeContext")), "none"),  # type: ignore[arg-type]
    )


def _characters(content: Any) -> int:
    texts = (as_object(block).get("text") for block in (content if is_array(content) else [content]))
    return sum(len(text) for text in texts if isinstance(text, str))


def _message(message: JsonObject) -> SamplingMessage:
    content, role = message.get("content"), message.get("role")
    blocks = [_read_block(as_object(block)) for block in (content if is_array(content) else [content])]
    if role not in {"user", "assistant"} or len(blocks) > MAX_BLOCKS:
        raise InvalidInput("sampling: a message has the role user or assistant, and a number of blocks that is bounded")
    return SamplingMessage(role, blocks[0] if len(blocks) == 1 else tuple(blocks))


def _read_block(block: JsonObject) -> SamplingContent:
    match block:
        case {"type": "tool_use", "id": str(use_id), "name": str(name), "input": given} if is_object(given):
            return ToolUse(use_id, name, given)
        case {"type": "tool_result", "toolUseId": str(use_id)}:
            structured = block.get("structuredContent", MISSING)
            blocks = content_blocks(block.get("content"), "")
            return ToolUseResult(use_id, blocks, structured, block.get("isError") is True)
        case _:
            read = content_blocks([block], "")
            if len(read) == 1 and isinstance(read[0], TextContent | ImageContent | AudioContent):
                return read[0]
            raise InvalidInput("sampling: a block is text, image, audio, tool_use or tool_result")


def _tool(tool: JsonObject) -> SamplingTool:
    name, schema = tool.get("name"), tool.get("inputSchema")
    if not isinstance(name, str) or not is_object(schema):
        raise InvalidInput("sampling: a tool has name and inputSchema")
    return SamplingTool(name, _text(tool.get("description", "")), schema)


def _preferences(wished: JsonObject) -> ModelPreferences:
    hints = wished.get("hints")
    names = [as_object(hint).get("name") for hint in (hints if is_array(hints) else [])]

    def priority(name: str) -> float | None:
        value = wished.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    return ModelPreferences(
        hints=tuple(name for name in names if isinstance(name, str)),
        cost_priority=priority("costPriority"),
        speed_priority=priority("speedPriority"),
        intelligence_priority=priority("intelligencePriority"),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise InvalidInput(f"a text of at most {MAX_TEXT} characters is required")
    return plain(value)


def _block(block: SamplingContent) -> JsonObject:
    match block:
        case TextContent(text):
            return {"type": "text", "text": text}
        case ImageContent(data, mime_type):
            return {"type": "image", "data": data, "mimeType": mime_type}
        case AudioContent(data, mime_type):
            return {"type": "audio", "data": data, "mimeType": mime_type}
        case ToolUse():
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
        case ToolUseResult():  # no model answers with one
            return {"type": "text", "text": ""}
