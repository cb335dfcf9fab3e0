"""A refusal as the doors tell of it, for metrics and logs."""

from dataclasses import dataclass
from typing import Literal

from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.policy.decision import Door


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer that is a refusal; of a connection that was closed without an answer, the closing."""

    reason: RefusalReason
    door: Door | Literal["http"]
    """`http`: the HTTP server or its outermost layer, before any door saw the request."""
    status: int
    """As HTTP counts, also where the door says it in another way; 0: the connection was closed."""
    client: str | None = None
    """The OAuth client that a token with a valid signature names (`azp`, `client_id`); None: none is vouched for."""
    address: str | None = None
    """The network address that the request came from; None: there is no network."""
    calls: int = 1
    """Messages that were refused together."""
    detail: str = ""
    """Words of the gateway's own that name what an operator can change; nothing of the request."""
