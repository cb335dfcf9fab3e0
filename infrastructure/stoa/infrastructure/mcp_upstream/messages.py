"""JSON-RPC 2.0 as an MCP client writes and reads it. The door has a module of its own: it judges what clients send and
says how to refuse it, where this one only has to tell the messages of an upstream apart."""

import asyncio
from typing import Any, NamedTuple

import pydantic_core

from stoa.domain.errors import BackendProtocolError, InvalidArguments, Violation
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.infrastructure.http_client.backend_answers import MAX_VALUES, has_many_values

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_QUICKLY_READ_BYTES = 256 * 1024
"""A longer message is read in a thread, so that other calls do not wait."""

RequestId = str | int


class UpstreamFault(Exception):  # the protocol's word is "error"
    """A JSON-RPC error: what the upstream answered, or what it is answered."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Response(NamedTuple):
    """`fault` None: `result` is the answer."""

    id: RequestId | None
    result: JsonObject
    fault: UpstreamFault | None


class Request(NamedTuple):
    id: RequestId
    method: str
    params: JsonObject


class Notification(NamedTuple):
    method: str
    params: JsonObject


Message = Response | Request | Notification


def request(request_id: RequestId, method: str, params: JsonObject) -> bytes:
    """Raises InvalidArguments for text that is no Unicode."""
    try:
        return pydantic_core.to_json({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
    except ValueError:
        raise InvalidArguments([Violation("", "valid Unicode")]) from None


def notification(method: str, params: JsonObject) -> bytes:
    return pydantic_core.to_json({"jsonrpc": "2.0", "method": method, "params": params})


def response(request_id: RequestId, result: JsonObject) -> bytes:
    return pydantic_core.to_json({"jsonrpc": "2.0", "id": request_id, "result": result}, inf_nan_mode="null")


def fault_response(request_id: RequestId, fault: UpstreamFault) -> bytes:
    error = {"code": fault.code, "message": fault.message}
    return pydantic_core.to_json({"jsonrpc": "2.0", "id": request_id, "error": error})


async def read(data: bytes, whose: str) -> list[Message]:
    """The messages of a body, an event or a line; several in a batch of 2025-03-26. Raises BackendProtocolError for
    what is no JSON-RPC."""
    if len(data) > _QUICKLY_READ_BYTES:
        if has_many_values(data):
            raise BackendProtocolError(f"The back end of {whose} answered more than {MAX_VALUES} values")
        return await asyncio.to_thread(read_now, data, whose)
    return read_now(data, whose)


def read_now(data: bytes, whose: str) -> list[Message]:
    """As `read`, at once."""
    try:
        value = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError:
        value = None
    if not is_array(value):  # as nearly all
        message = _message(value)
        if message is not None:
            return [message]
    messages = [_message(each) for each in (value if is_array(value) else [value])]
    whole = [message for message in messages if message is not None]
    if not whole or len(whole) < len(messages):
        raise BackendProtocolError(f"The back end of {whose} failed: it sent what is no JSON-RPC message")
    return whole


def flood(whose: str) -> BackendProtocolError:
    return BackendProtocolError(f"The back end of {whose} failed: it floods the gateway with messages")


def _message(value: Any) -> Message | None:
    if not is_object(value):
        return None
    method, params = value.get("method"), as_object(value.get("params"))
    request_id = value.get("id")
    is_id = isinstance(request_id, (str, int)) and not isinstance(request_id, bool)
    if isinstance(method, str):
        if "id" not in value:
            return Notification(method, params)
        return Request(request_id, method, params) if is_id else None  # type: ignore[arg-type]  # is_id
    answered = request_id if is_id else None
    if is_object(value.get("result")):
        return Response(answered, value["result"], None)
    return Response(answered, {}, _fault(value["error"])) if "error" in value else None


def _fault(error: Any) -> UpstreamFault:
    members = as_object(error)
    code, message = members.get("code"), members.get("message")
    return UpstreamFault(
        code if isinstance(code, int) else INTERNAL_ERROR,
        message if isinstance(message, str) else "unknown error",
        members.get("data"),
    )
