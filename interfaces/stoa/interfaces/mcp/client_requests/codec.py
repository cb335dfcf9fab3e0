"""Client requests and answers as JSON: the same in both eras, without their envelope."""

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
    """The declared client capabilities that this gateway uses and the revision knows. `elicitation: {}` means by form;
    so does any object in revisions that have no `form` and `url`."""
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
        wire["elicitation"]["form"] = {}  # the default without any mode, but not next to `url`
    return wire


def declares(declared: Any, extension: str) -> bool:
    """True if this client capabilities object names the extension."""
    return is_object(as_object(as_object(declared).get("extensions")).get(extension))


def may_come_unrequested(request: ClientRequest) -> bool:
    """True for a form whose fields a client may know and fill in with its first request (SEP-2322). A policy's
    confirmation is excluded: its sentence must have been shown to the user."""
    return isinstance(request, ElicitationRequest) and not request.is_confirmation


def request(client_request: ClientRequest, revision: Revision) -> JsonObject:
    """`method` and `params`."""
    match client_request:
        case SamplingRequest():
            return {"method": "sampling/createMessage", "params": sampling_wire.params(client_request, revision)}
        case ElicitationRequest():
            params: JsonObject = {"message": client_request.message, "requestedSchema": client_request.schema}
            return {"method": "elicitation/create", "params": params}
        case UrlElicitationRequest():
            params = {"mode": "url", "message": client_request.message, "url": client_request.url}
            if revision.has_elicitation_ids:
                params["elicitationId"] = client_request.elicitation_id
            return {"method": "elicitation/create", "params": params}
        case RootsRequest():
            return {"method": "roots/list", "params": {}}


def read_request(wire: JsonObject) -> ClientRequest | None:
    """Inverse of `request`: a client request that validates the same answers; None if unrecognised."""
    params = as_object(wire.get("params"))
    try:
        match wire.get("method"), params.get("mode"):
            case "sampling/createMessage", _:
                return sampling_wire.read_request(params)
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


def answer(client_request: ClientRequest, result: Any, revision: Revision) -> ClientAnswer | None:
    """The client's result if it fits the request; else None."""
    if not is_object(result):
        return None
    read: ClientAnswer | None
    match client_request:
        case SamplingRequest():
            read = sampling_wire.answer(result, revision)
        case ElicitationRequest():
            read = _filled_in(result)
        case UrlElicitationRequest():
            read = _opened(result)
        case RootsRequest():
            read = _roots(result)
    return read if read is not None and fits(client_request, read) else None


def _filled_in(result: JsonObject) -> ElicitationAnswer | None:
    action, content = result.get("action"), result.get("content")
    if action == "accept":
        return ElicitationAnswer(action, content) if is_object(content) else None
    return ElicitationAnswer(action, {}) if action in {"decline", "cancel"} else None


def _opened(result: JsonObject) -> ElicitationAnswer | None:
    """Ignores `content`, which clients must not send here: what the user enters stays on the page."""
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
