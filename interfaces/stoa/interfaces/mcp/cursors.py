"""Opaque pagination cursors. Stateless: a cursor holds the name after which the next page begins, so pages stay
right while tools come and go, on every replica."""

import base64
import binascii
from typing import Any

from stoa.interfaces.mcp.messages import INVALID_PARAMS, Fault


def encode(after: str) -> str:
    return base64.urlsafe_b64encode(b"\x01" + after.encode()).decode("ascii")


def decode(cursor: Any) -> str:
    """The name in a cursor of ours. Raises Fault (invalid params) for any other."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True) if isinstance(cursor, str) else b""
        if raw[:1] == b"\x01":
            return raw[1:].decode("utf-8")
    except (binascii.Error, ValueError) as caught:
        raise Fault(INVALID_PARAMS, "cursor is not one that this server gave") from caught
    raise Fault(INVALID_PARAMS, "cursor is not one that this server gave")
