"""Maps each error of the domain to its codes on the wire, in one table for all doors.

The nearest base class decides, so a new leaf is covered; a test ensures that none falls through to the root.
"""

import math
from typing import NamedTuple

from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import (
    ClientCapabilityMissing,
    ClientRequestRefused,
    InvalidInput,
    NotAuthenticated,
    NotPermitted,
    OperationNotFound,
    QuotaExceeded,
    StoaError,
    Unavailable,
    UnsupportedCoding,
    UpstreamAccessDenied,
)


class WireError(NamedTuple):
    http_status: int
    """HTTP status for REST, and for MCP where the protocol leaves it to the server."""
    rpc_code: int
    """JSON-RPC code. Our own are positive: MCP reserves -32768 to -32000."""
    exit_code: int
    """Exit code of the command line (sysexits.h)."""


INTERNAL = WireError(500, -32603, 70)

WIRE_ERRORS: dict[type[StoaError], WireError] = {
    StoaError: INTERNAL,
    InvalidInput: WireError(400, -32602, 65),
    UnsupportedCoding: WireError(415, -32602, 65),
    ClientCapabilityMissing: WireError(400, -32021, 69),
    NotAuthenticated: WireError(401, 4010, 77),
    NotPermitted: WireError(403, 4030, 77),
    ClientRequestRefused: WireError(403, 4031, 77),
    UpstreamAccessDenied: WireError(403, 4032, 77),
    OperationNotFound: WireError(404, -32602, 66),
    QuotaExceeded: WireError(429, 4290, 75),
    Unavailable: WireError(503, 5030, 69),
}


REASONS_BY_STATUS = {
    404: RefusalReason.PATH,
    405: RefusalReason.METHOD,
    406: RefusalReason.NOT_ACCEPTABLE,
    413: RefusalReason.TOO_LARGE,
    415: RefusalReason.MEDIA_TYPE,
    500: RefusalReason.INTERNAL,
}
"""The refusal reasons of statuses that the HTTP doors answer with by themselves; any other status is a bad request."""


def wire_error(error: StoaError) -> WireError:
    """The row of the error's own class or of its nearest base."""
    return next(WIRE_ERRORS[kind] for kind in type(error).__mro__ if kind in WIRE_ERRORS)


def client_of(error: StoaError) -> str | None:
    """The OAuth client whose token was refused, where the token's signature vouches for it."""
    return error.client if isinstance(error, NotAuthenticated) else None


def retry_after_seconds(error: QuotaExceeded) -> int:
    """The Retry-After value (RFC 9110 section 10.2.3): whole seconds, never too early."""
    return max(1, math.ceil(error.retry_after_seconds))
