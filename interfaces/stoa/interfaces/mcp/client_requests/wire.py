"""Questions to the client and its answers as they are written: the same in both eras, once the envelope is off."""

from collections.abc import Mapping
from typing import Any

from stoa.application.client_requests.answer_fit import fits
from stoa.domain.client_requests.client_request import (
    NO_CAPABILITIES,
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    ElicitationAnswer,
    ElicitationRequest,
    Root,
    RootsAnswer,
    RootsRequest,
    SamplingRequest,
    UrlElicitationRequest,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.interfaces.mcp.wire import sampling as sampling_wire
from stoa.interfaces.wire.revisions import Revision


def capabilities(declared: Any, revision: Revision) -> ClientCapabilities:
    """What of the client capabilities object is of use here, and known to the revision. `elicitation: {}` means by
    form; so does anything there before clients could say more."""
    if not declared or not is_object(declared):
        return NO_CAPABILITIES
    sampling, elicitation = declared.get("sampling"), declared.get("elicitation")
    by_url = revision.has_client_details and is_object(as_object(elicitation).get("url"))
    return ClientCapabilities(
        sampling=is_object(sampling),
        sampling_tools=revision.has_client_details and is_object(as_object(sampling).get("tools")),
        sampling_context=revision.has_client_details and is_object(as_object(sampling).get("context")),
        elicitation=revision.has_elicitation and is_object(elicitation) and ("form" in elicitation or not by_url),
        elicitation_url=revision.has_elicitation and by_url,
        roots=is_object(declared.get("roots")),
    )


def required(missing: tuple[str, ...]) -> JsonObject:
    """These capabilities as a client would declare them. Those with a slash are extensions."""
    wire: JsonObject = {}
    for name in missing:
        if "/" in name:
            wire.setdefault("extensions", {})[name] = {}
            continue
        capability, _, detail = name.partition(".")
        wire.setdefault(capability, {}).update({detail: {}} if detail else {})
    if {"elicitation", "elicitation.url"} <= set(missing):
        wire["elicitation"]["form"] = {}  # which is meant where nothing is said, but not beside `url`
    return wire


def declares(declared: Any, extension: str) -> bool:
    """Does this client capabilities object name the extension?"""
    return is_object(as_object(as_object(declared).get("extensions")).get(extension))


def may_come_unasked(question: ClientRequest) -> bool:
    """A form whose fields a client knows may be filled in with the first request, unless it is a policy's: what the
    gateway itself asks has to have been read."""
    return isinstance(question, ElicitationRequest) and not question.is_confirmation


def request(question: ClientRequest, revision: Revision) -> JsonObject:
    """`method` and `params`."""
    match question:
        case SamplingRequest():
            return {"method": "sampling/createMessage", "params": sampling_wire.params(question, revision)}
        case ElicitationRequest():
            params: JsonObject = {"message": question.message, "requestedSchema": question.schema}
            return {"method": "elicitation/create", "params": params}
        case UrlElicitationRequest():
            params = {"mode": "url", "message": question.message, "url": question.url}
            if revision.has_elicitation_ids:
                params["elicitationId"] = question.elicitation_id
            return {"method": "elicitation/create", "params": params}
        case RootsRequest():
            return {"method": "roots/list", "params": {}}


def read_request(wire: JsonObject) -> ClientRequest | None:
    """A question that the same answers fit as the one that `request` wrote; None for anything else."""
    params = as_object(wire.get("params"))
    try:
        match wire.get("method"), params.get("mode"):
            case "sampling/createMessage", _:
                return sampling_wire.read_question(params)
            case "elicitation/create", "url":
                return UrlElicitationRequest(params["message"], params["url"], params.get("elicitationId", "-"))
            case "elicitation/create", _:
                return ElicitationRequest(params["message"], params["requestedSchema"])
            case "roots/list", _:
                return RootsRequest()
            case _:
                return None
    except (InvalidInput, LookupError):
        return None


def requests(questions: Mapping[str, ClientRequest], revision: Revision) -> JsonObject:
    return {key: request(question, revision) for key, question in questions.items()}


def answer(question: ClientRequest, result: Any, revision: Revision) -> ClientAnswer | None:
    """The client's result, when it fits the question."""
    if not is_object(result):
        return None
    read: ClientAnswer | None
    match question:
        case SamplingRequest():
            read = sampling_wire.answer(result, revision)
        case ElicitationRequest():
            read = _filled_in(result)
        case UrlElicitationRequest():
            read = _opened(result)
        case RootsRequest():
            read = _roots(result)
    return read if read is not None and fits(question, read) else None


def _filled_in(result: JsonObject) -> ElicitationAnswer | None:
    action, content = result.get("action"), result.get("content")
    if action == "accept":
        return ElicitationAnswer(action, content) if is_object(content) else None
    return ElicitationAnswer(action, {}) if action in {"decline", "cancel"} else None


def _opened(result: JsonObject) -> ElicitationAnswer | None:
    """What a page is told stays on the page: content, which clients must not send here, is not looked at."""
    action = result.get("action")
    return ElicitationAnswer(action, {}) if action in {"accept", "decline", "cancel"} else None


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
