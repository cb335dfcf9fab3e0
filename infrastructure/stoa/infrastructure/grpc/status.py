"""Status codes of gRPC (grpc.github.io/grpc/core/md_doc_statuscodes.html) as answers or errors of the gateway.

What the server itself says is an answer, in JSON with the details of google.rpc.Status. What the transport says of a
server that is away, late or speaks another protocol is an error, in words that repeat nothing of it: grpcio quotes
addresses there.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from grpc import StatusCode  # type: ignore[import-untyped]
from stoa.domain.errors import BackendError, BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.documents.json_allowance import AllowanceExceeded, JsonAllowance
from stoa.infrastructure.protobuf.message_json import UNREAD, JsonPlans

MAX_DETAILS = 20
_DETAILS_KEY = "grpc-status-details-bin"
_STANDARD = JsonPlans(error_details_pb2.DESCRIPTOR.pool)
_NOT_GRPC = ("Received http2 header", "Received http2 :status", "Bad http2", "Failed parsing HTTP/2")
_TOO_LARGE = ("CLIENT: Received message larger than max", "Decompressed message larger than max")
"""The words about answers. Servers say them about requests, with SERVER or nothing before."""


def backend_error(error: Any, name: str, *, is_connected: bool = True) -> BackendError | None:
    """The error to raise instead of an AioRpcError; None: it is an answer. `name`: of the tool. `is_connected`: a
    connection to the server stands, so the words may be its own; without one, words that no connection was made are
    true, and nothing was sent."""
    code, details = error.code(), str(error.details() or "")
    whose = f"The back end of {name} failed"
    if code is StatusCode.DEADLINE_EXCEEDED:
        return BackendTimedOut(f"{whose}: it did not answer in time")
    if code is StatusCode.RESOURCE_EXHAUSTED and any(text in details for text in _TOO_LARGE):
        return BackendProtocolError(f"{whose}: its answer is larger than the gateway reads")
    if any(text in details for text in _NOT_GRPC):
        return BackendProtocolError(f"{whose}: its answer is not gRPC")
    if code is StatusCode.UNAVAILABLE:
        reason, is_lost = unavailability(error)
        return BackendUnavailable(f"{whose}: {reason}", nothing_was_sent=not is_lost and not is_connected)
    return None


_REASONS = (
    ("backend unhealthy", "its server says that it is not healthy (spec.grpc.healthCheck)", False),
    ("hostname verification", "its TLS certificate is for another host name", False),
    ("wrong_version_number", "it does not speak TLS at this port; is it grpc://?", False),
    ("certificate_verify_failed", "its TLS certificate is not trusted", False),
    ("handshake failed", "the TLS handshake failed", False),
    ("failed to connect", "nothing listens at its address (spec.grpc.target)", False),
    ("connection refused", "nothing listens at its address (spec.grpc.target)", False),
    ("socket closed", "the connection was lost", True),
    ("connection reset", "the connection was lost", True),
    ("broken pipe", "the connection was lost", True),
    ("goaway", "the connection was lost", True),
)
"""Text in grpcio's words, in lower case; how it is told; whether there was a connection, so that the call may have been
sent. The most specific first."""


def unavailability(error: Any) -> tuple[str, bool]:
    """The reason of UNAVAILABLE in our words, and whether there was a connection."""
    lowered = str(error.details() or "").lower()
    for text, told, is_lost in _REASONS:
        if text in lowered:
            return told, is_lost
    return "it says that it is not available", True


def status_of(error: Any, any_to_json: Callable[[Any], JsonObject]) -> JsonObject:
    """Code, message and details of what the server said. `any_to_json`: reads the method's own messages."""
    made: JsonObject = {"code": error.code().name, "message": str(error.details() or "")}
    details = [_detail(entry, any_to_json) for entry in _rich_status(error)]
    return {**made, "details": details} if details else made


def _rich_status(error: Any) -> list[Any]:
    """The details of a google.rpc.Status in the trailers, where the server sent one that can be read."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            try:
                return [*status_pb2.Status.FromString(value).details][:MAX_DETAILS]
            except DecodeError:
                return []
    return []


def _detail(entry: Any, any_to_json: Callable[[Any], JsonObject]) -> JsonObject:
    """As ProtoJSON has an Any; without its value where its type is not known."""
    try:
        content = _STANDARD.any_to_json(entry, JsonAllowance())
        content = any_to_json(entry) if UNREAD in content else content
    except AllowanceExceeded:
        content = {UNREAD: ""}
    return {"@type": entry.type_url} if UNREAD in content else content
