"""Opaque pagination cursors. Stateless: a cursor holds the name after which the next page of a list begins, so pages
stay right while tools come and go, on every replica. It is not sealed: it opens nothing that its bearer could not list.
"""

import base64
import binascii
from typing import Any

from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, Fault

_VERSION = b"\x02"


def encode(after: str, of: str) -> str:
    """The cursor of the page that begins after this name. `of`: the list that it belongs to."""
    return base64.urlsafe_b64encode(_VERSION + of.encode() + b"\0" + after.encode()).decode("ascii")


def decode(cursor: Any, of: str) -> str:
    """The name in a cursor of the list `of`. Raises Fault (invalid params) for anything else."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True) if isinstance(cursor, str) else b""
        after = raw.removeprefix(_VERSION + of.encode() + b"\0").decode("utf-8")
    except (binascii.Error, ValueError) as caught:
        raise Fault(INVALID_PARAMS, "cursor is not one that this server gave") from caught
    if not after or encode(after, of) != cursor:  # of another list, or a second spelling of the same bytes
        raise Fault(INVALID_PARAMS, "cursor is not one that this server gave")
    return after
