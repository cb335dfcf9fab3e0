"""A digest of a client request: an answer counts only for exactly the request that was sent."""

import hashlib
from dataclasses import asdict

import pydantic_core

from stoa.domain.client_requests.client_request import ClientRequest

_VARYING = frozenset({"elicitation_id", "include_context"})
"""Fields that differ although the request is the same: an id that every run makes, a part left out for some clients."""


def fingerprint(client_request: ClientRequest) -> str:
    """SHA-256, in hexadecimal, of all fields that the client is shown."""
    shown = {name: value for name, value in asdict(client_request).items() if name not in _VARYING}
    text = pydantic_core.to_json([type(client_request).__name__, shown], fallback=_absent)
    return hashlib.sha256(text).hexdigest()


def _absent(_: object) -> str:
    """A placeholder for MISSING, the only value in a client request that is not JSON."""
    return "absent"
