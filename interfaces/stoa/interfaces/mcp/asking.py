"""Questions to the client and its answers as they are written: the same in both eras, once the envelope is off."""

from collections.abc import Mapping
from typing import Any

from stoa.application.answer_fit import fits
from stoa.domain.dialogue import (
    NO_CAPABILITIES,
    ClientCapabilities,
    ElicitationAnswer,
    ElicitationRequest,
    InputAnswer,
    InputRequest,
    Root,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingContent,
    SamplingMessage,
    SamplingRequest,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.result import AudioContent, ImageContent, TextContent


def capabilities(declared: Any) -> ClientCapabilities:
    """What of the client capabilities object is of use here. `elicitation: {}` means by form."""
    if not declared or not is_object(declared):
        return NO_CAPABILITIES
    elicitation = declared.get("elicitation")
    return ClientCapabilities(
        sampling=is_object(declared.get("sampling")),
        elicitation=is_object(elicitation) and ("form" in elicitation or "url" not in elicitation),
        roots=is_object(declared.get("roots")),
    )


def required(missing: tuple[str, ...]) -> JsonObject:
    """These capabilities as a client would declare them. Those with a slash are extensions."""
    wire: JsonObject = {name: {} for name in missing if "/" not in name}
    extensions: JsonObject = {name: {} for name in missing if "/" in name}
    return {**wire, "extensions": extensions} if extensions else wire


def declares(declared: Any, extension: str) -> bool:
    """Does this client capabilities object name the extension?"""
    return is_object(as_object(as_object(declared).get("extensions")).get(extension))


def may_come_unasked(question: InputRequest) -> bool:
    """A form whose fields a client knows may be filled in with the first request."""
    return isinstance(question, ElicitationRequest)


def request(question: InputRequest) -> JsonObject:
    """`method` and `params`."""
    match question:
        case SamplingRequest():
            params: JsonObject = {
                "messages": [{"role": m.role, "content": _block(m.content)} for m in question.messages],
                "maxTokens": question.max_tokens,
                "systemPrompt": question.system_prompt,
                "temperature": question.temperature,
                "stopSequences": list(question.stop_sequences) or None,
            }
            params = {name: value for name, value in params.items() if value is not None}
            return {"method": "sampling/createMessage", "params": params}
        case ElicitationRequest():
            params = {"message": question.message, "requestedSchema": question.schema}
            return {"method": "elicitation/create", "params": params}
        case RootsRequest():
            return {"method": "roots/list", "params": {}}


def read_request(wire: JsonObject) -> InputRequest | None:
    """The question that `request` wrote; None for anything else."""
    params = as_object(wire.get("params"))
    try:
        match wire.get("method"):
            case "sampling/createMessage":
                return SamplingRequest(
                    messages=tuple(_message(as_object(message)) for message in params["messages"]),
                    max_tokens=params["maxTokens"],
                    system_prompt=params.get("systemPrompt"),
                    temperature=params.get("temperature"),
                    stop_sequences=tuple(params.get("stopSequences", ())),
                )
            case "elicitation/create":
                return ElicitationRequest(params["message"], params["requestedSchema"])
            case "roots/list":
                return RootsRequest()
            case _:
                return None
    except (InvalidInput, LookupError):
        return None


def _message(wire: JsonObject) -> SamplingMessage:
    """Raises LookupError for a block that is none of ours."""
    block = _content(wire["content"])
    if block is None:
        raise LookupError("content")
    return SamplingMessage(wire["role"], block)


def requests(questions: Mapping[str, InputRequest]) -> JsonObject:
    return {key: request(question) for key, question in questions.items()}


def answer(question: InputRequest, result: Any) -> InputAnswer | None:
    """The client's result, when it fits the question."""
    if not is_object(result):
        return None
    read: InputAnswer | None
    match question:
        case SamplingRequest():
            read = _sampled(result)
        case ElicitationRequest():
            read = _filled_in(result)
        case RootsRequest():
            read = _roots(result)
    return read if read is not None and fits(question, read) else None


def _sampled(result: JsonObject) -> SamplingAnswer | None:
    content, role, model = result.get("content"), result.get("role"), result.get("model")
    blocks = [_content(block) for block in (content if is_array(content) else [content])]
    known = tuple(block for block in blocks if block is not None)
    if len(known) < len(blocks) or role not in {"user", "assistant"} or not isinstance(model, str):
        return None
    reason = result.get("stopReason")
    return SamplingAnswer(known, model, role, reason if isinstance(reason, str) else None)


def _filled_in(result: JsonObject) -> ElicitationAnswer | None:
    action, content = result.get("action"), result.get("content")
    if action == "accept":
        return ElicitationAnswer(action, content) if is_object(content) else None
    return ElicitationAnswer(action, {}) if action in {"decline", "cancel"} else None


def _roots(result: JsonObject) -> RootsAnswer | None:
    listed = result.get("roots")
    if not is_array(listed):
        return None
    roots: list[Root] = []
    for entry in map(as_object, listed):
        uri, name = entry.get("uri"), entry.get("name")
        if not isinstance(uri, str) or not uri.startswith("file:"):
            return None
        roots.append(Root(uri, name if isinstance(name, str) else None))
    return RootsAnswer(tuple(roots))


def _block(content: SamplingContent) -> JsonObject:
    if isinstance(content, TextContent):
        return {"type": "text", "text": content.text}
    kind = "image" if isinstance(content, ImageContent) else "audio"
    return {"type": kind, "data": content.data, "mimeType": content.mime_type}


def _content(block: Any) -> SamplingContent | None:
    members = as_object(block)
    match members.get("type"), members.get("text"), members.get("data"), members.get("mimeType"):
        case "text", str(text), _, _:
            return TextContent(text)
        case "image", _, str(data), str(mime_type):
            return ImageContent(data, mime_type)
        case "audio", _, str(data), str(mime_type):
            return AudioContent(data, mime_type)
        case _:
            return None
