"""Telling whether an answer belongs to a question: by a digest of the question that was asked."""

import hashlib
from dataclasses import asdict

import pydantic_core

from stoa.domain.client_requests.client_request import ClientRequest

_VARYING = frozenset({"elicitation_id", "include_context"})
"""Made anew by every run, and left out for clients that cannot do it: the question is the same."""


def fingerprint(question: ClientRequest) -> str:
    """SHA-256, in hexadecimal, of everything that the client is asked."""
    told = {name: value for name, value in asdict(question).items() if name not in _VARYING}
    text = pydantic_core.to_json([type(question).__name__, told], fallback=_absent)
    return hashlib.sha256(text).hexdigest()


def _absent(_: object) -> str:
    """MISSING, the only value in a question that is no JSON."""
    return "absent"
