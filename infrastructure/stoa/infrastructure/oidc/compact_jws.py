"""Parses a compact JWS (RFC 7515 section 7.1) strictly, before anything in it is trusted.

joserfc's own extraction keeps the last of duplicate members and lets NaN and lone surrogates through, so only its
base64url decoder is used here. The parser raises nothing, because the exceptions of the decoders carry the text they
failed on.
"""

import json
from dataclasses import dataclass, field
from typing import Any, cast

from joserfc.util import urlsafe_b64decode

MAX_TOKEN_LENGTH = 16 * 1024
"""Upper bound on a token, in characters. Front ends limit a header line to 8 or 16 KiB."""
TOO_LONG = f"The token is longer than the {MAX_TOKEN_LENGTH} characters that are accepted; put less into it"


@dataclass(frozen=True, slots=True)
class CompactJws:
    """The decoded parts of a token, none of them verified. Its repr hides them."""

    header: dict[str, Any] = field(repr=False)
    claims: dict[str, Any] = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse(token: str) -> CompactJws | None:
    """Parses a token. None if it is not a JWS with a JSON object as payload; an encrypted token (five parts) is not."""
    if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
        return None
    parts = token.encode("ascii").split(b".")
    if len(parts) != 3:
        return None
    try:
        header, claims = _json(parts[0]), _json(parts[1])
        signature = urlsafe_b64decode(parts[2])
    except (ValueError, RecursionError):  # base64, UTF-8, JSON; RecursionError: nested too deep for the parser
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return None
    signing_input = parts[0] + b"." + parts[1]
    return CompactJws(cast("dict[str, Any]", header), cast("dict[str, Any]", claims), signing_input, signature)


def _json(segment: bytes) -> object:
    text = urlsafe_b64decode(segment).decode("utf-8")
    return json.loads(text, object_pairs_hook=_unique_members, parse_constant=_no_constant)


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")  # RFC 7519 section 4: reject, or two readers see two tokens
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
