"""Refusals as the doors report them, for metrics and logs."""

from dataclasses import dataclass
from typing import Literal

from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.policy.decision import Door


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer that refuses a request, or the closing of a connection without an answer."""

    reason: RefusalReason
    door: Door | Literal["http"]
    """The door that refused; `http` is the HTTP server or its outermost layer, before any door saw the request."""
    status: int
    """HTTP status, also for doors that report it in another form; 0: the connection was closed."""
    client: str | None = None
    """The OAuth client that a token with a valid signature names (`azp`, `client_id`); None without such a token."""
    address: str | None = None
    """The network address that the request came from; None for a door without a network."""
    calls: int = 1
    """Messages that were refused together."""
    detail: str = ""
    """The gateway's own words for what an operator can change; never text of the request."""
