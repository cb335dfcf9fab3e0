"""JSON-RPC 2.0 as MCP uses it: reading one message, writing results and errors.

Reading is a pure function that returns a value: a message, or the fault to answer with.
"""

import codecs
from dataclasses import dataclass
from typing import Any

import pydantic_core

from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.interfaces.wire.json_text import LARGE_BYTES, PacedParser, TooManyValues, parse_json

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002
"""JSON-RPC code for an unknown resource, in the handshake era only."""
REQUEST_CANCELLED = -32800
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022

_REASONS = {
    METHOD_NOT_FOUND: RefusalReason.UNKNOWN_METHOD,
    INVALID_PARAMS: RefusalReason.INVALID_INPUT,
    RESOURCE_NOT_FOUND: RefusalReason.RESOURCE_NOT_FOUND,
    MISSING_CAPABILITY: RefusalReason.CLIENT_CANNOT,
    HEADER_MISMATCH: RefusalReason.HEADER_MISMATCH,
    UNSUPPORTED_VERSION: RefusalReason.UNSUPPORTED_VERSION,
}

RequestId = str | int


@dataclass(slots=True)  # not frozen: one is made for every request, and freezing costs time
class Request:
    id: RequestId
    method: str
    params: JsonObject


@dataclass(frozen=True, slots=True)
class Notification:
    method: str
    params: JsonObject


@dataclass(frozen=True, slots=True)
class Response:
    """A client's answer to a request of ours."""

    id: RequestId | None
    result: Any
    """None: the client answered with an error."""


class Fault(Exception):  # the protocol's word is "error", which Python's own names crowd out
    """A JSON-RPC error, with the HTTP status that the stateless era gives it. `request_id`: the request's id, if it was
    readable."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        http_status: int = 400,
        data: Any = None,
        request_id: RequestId | None = None,
        reason: RefusalReason | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status
        self.data = data
        self.request_id = request_id
        self.reason = reason or _REASONS.get(code, RefusalReason.BAD_MESSAGE)
        """The refusal that metrics and logs count."""


Message = Request | Notification | Response


def parse(body: bytes | bytearray) -> Any:
    """The JSON value of a body. Raises Fault."""
    try:
        if len(body) > LARGE_BYTES or body[:3] == codecs.BOM_UTF8:
            return parse_json(body)
        return pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as caught:
        raise _not_parsed(caught) from caught


async def parse_paced(body: bytes | bytearray, parser: PacedParser) -> Any:
    """The JSON value of a body of more than LARGE_BYTES. Between two such bodies the event loop gets time for other
    work. Raises Fault."""
    try:
        return await parser.parse(body)
    except ValueError as caught:
        raise _not_parsed(caught) from caught


def _not_parsed(caught: ValueError) -> Fault:
    if isinstance(caught, TooManyValues):
        return Fault(
            INVALID_REQUEST, f"The body is too large: {caught}", http_status=413, reason=RefusalReason.TOO_LARGE
        )
    return Fault(PARSE_ERROR, f"The body is not JSON: {caught}")


def id_of(value: Any) -> RequestId | None:
    """The id of a message; None if it has no readable one. Even a refusal carries it, so that the client can match it
    with its request."""
    request_id = value.get("id") if is_object(value) else None
    return request_id if isinstance(request_id, (str, int)) and not isinstance(request_id, bool) else None


def read(value: Any) -> Message:
    """The message that a JSON value is. Raises Fault."""
    # Compared by class, which costs no call: JSON gives nothing derived from dict.
    if value.__class__ is not dict:
        raise Fault(INVALID_REQUEST, "A message is a JSON object")
    if value.get("jsonrpc") != "2.0":
        raise Fault(INVALID_REQUEST, 'jsonrpc must be "2.0"')
    method = value.get("method")
    if method is None and ("result" in value or "error" in value):
        return Response(id_of(value), value.get("result"))
    if not isinstance(method, str):
        raise Fault(INVALID_REQUEST, "method must be a string")
    if "id" not in value:
        notified = value.get("params")
        return Notification(method, notified if is_object(notified) else {})
    request_id = value["id"]
    if isinstance(request_id, bool) or not isinstance(request_id, (str, int)):
        raise Fault(INVALID_REQUEST, "id must be a string or an integer")
    params: Any = value.get("params")
    if params is None:  # some clients write null for absent params
        return Request(request_id, method, {})
    if params.__class__ is not dict:
        raise Fault(INVALID_REQUEST, "params must be an object", request_id=request_id)
    return Request(request_id, method, params)


def result(request_id: RequestId, value: JsonObject) -> bytes:
    """A success response."""
    return pydantic_core.to_json({"jsonrpc": "2.0", "id": request_id, "result": value})


def error(request_id: RequestId | None, code: int, message: str, data: Any = None) -> bytes:
    """An error response. Without `request_id` it has no id member: MCP has no null id."""
    body: JsonObject = {"jsonrpc": "2.0"}
    if request_id is not None:
        body["id"] = request_id
    body["error"] = {"code": code, "message": message}
    if data is not None:
        body["error"]["data"] = data
    return pydantic_core.to_json(body)


def notification(method: str, params: JsonObject) -> bytes:
    """A notification to a client. Numbers that JSON does not have become null."""
    return pydantic_core.to_json({"jsonrpc": "2.0", "method": method, "params": params}, inf_nan_mode="null")
