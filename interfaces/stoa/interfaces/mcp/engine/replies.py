"""Errors as replies: the JSON-RPC body, the HTTP status, the headers and the refusal to report for each."""

from typing import Any

from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import (
    ClientCapabilityMissing,
    NotAuthenticated,
    NotPermitted,
    QuotaExceeded,
    SessionsFull,
    SharedStateUnavailable,
    StoaError,
)
from stoa.interfaces.mcp.client_requests import codec
from stoa.interfaces.mcp.exchange import JSON, Refused, Reply
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    MISSING_CAPABILITY,
    REQUEST_CANCELLED,
    Fault,
    RequestId,
)
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.errors import WireError, retry_after_seconds, wire_error
from stoa.interfaces.wire.revisions import Revision

INTERNAL_REFUSAL = Refused(RefusalReason.INTERNAL, 500)

_CLIENT_FAULTS = frozenset({INVALID_PARAMS, MISSING_CAPABILITY})


class ErrorReplies:
    """Writes domain errors as MCP replies. `resource` gives the WWW-Authenticate challenges."""

    def __init__(self, resource: ProtectedResource) -> None:
        self._resource = resource

    def reply(
        self, error: StoaError, *, request_id: RequestId | None = None, revision: Revision | None = None
    ) -> Reply:
        """The reply to the request `request_id`. `revision`: None where the error came before the era was known."""
        wire = wire_error(error)
        headers: list[tuple[bytes, bytes]] = [JSON]
        challenge = self._resource.challenge(error)
        if challenge is not None:
            headers.append((b"www-authenticate", challenge.encode("latin-1", "replace")))
        if isinstance(error, QuotaExceeded):
            headers.append((b"retry-after", b"%d" % retry_after_seconds(error)))
        body = messages.error(request_id, wire.rpc_code, error.message, _data(error))
        refused = Refused(error.refusal_reason, wire.http_status)
        return Reply(_status(error, wire, revision), body, tuple(headers), refusals=(refused,))


def fault_reply(fault: Fault, status: int, request_id: RequestId | None = None) -> Reply:
    """The reply for a protocol error. `request_id`: of the request, where the fault itself does not name it."""
    answered_id = fault.request_id if request_id is None else request_id
    body = messages.error(answered_id, fault.code, fault.message, fault.data)
    # A request that its client cancelled was not refused.
    refusals = () if fault.code == REQUEST_CANCELLED else (Refused(fault.reason, fault.http_status),)
    return Reply(status, body, (JSON,), refusals=refusals)


def method_not_allowed(allowed: bytes) -> Reply:
    """405 for an HTTP method other than those in `allowed` (RFC 9110 section 15.5.6)."""
    body = messages.error(None, INVALID_REQUEST, "This HTTP method has no meaning here; see Allow")
    return Reply(405, body, (JSON, (b"allow", allowed)), refusals=(Refused(RefusalReason.METHOD, 405),))


def _status(error: StoaError, wire: WireError, revision: Revision | None) -> int:
    """401 and 403 need their HTTP status in every era, or no client would ask for another token. Otherwise the
    handshake era answers requests with 200, and the stateless era says bad requests and full limits by the status."""
    if revision is None or isinstance(error, (NotAuthenticated, NotPermitted)):
        return wire.http_status
    if not revision.is_stateless:
        return wire.http_status if isinstance(error, (SessionsFull, SharedStateUnavailable)) else 200
    if wire.rpc_code in _CLIENT_FAULTS:
        return 400
    return wire.http_status if isinstance(error, QuotaExceeded) else 200


def _data(error: StoaError) -> dict[str, Any]:
    """`error.data` of the JSON-RPC error: a stable code, and what helps the client to go on."""
    data: dict[str, Any] = {"code": error.code}
    if isinstance(error, QuotaExceeded):
        data |= _limit_data(error)
    if isinstance(error, ClientCapabilityMissing):
        data["requiredCapabilities"] = codec.required(error.missing)
    return data


def _limit_data(error: QuotaExceeded) -> dict[str, Any]:
    """Seconds until a retry can succeed; for a rate limit also its size and the remaining calls."""
    data: dict[str, Any] = {"limitName": error.limit_name, "retryAfterSeconds": error.retry_after_seconds}
    verdict = error.verdict
    if verdict is not None and verdict.charge is not None:
        limit = verdict.charge.limit
        data["limit"] = {"requestsPerMinute": limit.requests_per_minute, "burst": limit.burst}
        data["remaining"], data["resetSeconds"] = verdict.remaining, verdict.reset_seconds
    return data
