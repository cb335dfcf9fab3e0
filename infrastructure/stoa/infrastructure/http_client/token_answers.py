"""Reads responses of token endpoints (RFC 6749 sections 5.1 and 5.2; RFC 8693 section 2.2) without repeating any of
their text, which may quote the request."""

import base64
import math
import re
from typing import Any

import pydantic_core

from stoa.application.ports.token_endpoint import GrantedToken, TokenRequest
from stoa.domain.errors import BackendProtocolError, BackendUnavailable, UpstreamAccessDenied
from stoa.domain.schema.json_value import JsonObject, as_object, is_array

MAX_TOKEN_LENGTH = 16 * 1024

_ACCESS_TOKEN = re.compile(r"[\x21-\x7e]+")
_TOKEN_TYPES = {None, "urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"}
_OWN_FAULTS = frozenset({"invalid_client", "unauthorized_client"})
KNOWN_ERRORS = _OWN_FAULTS | {
    *("access_denied", "insufficient_scope", "invalid_grant", "invalid_request", "invalid_scope", "invalid_target"),
    *("invalid_token", "unsupported_grant_type"),
}


def granted(status: int, body: bytes, request: TokenRequest) -> GrantedToken:
    """The token that a response grants. Raises UpstreamAccessDenied, BackendUnavailable or BackendProtocolError."""
    answer = _json(body)
    if status == 200:
        return _token(answer, request)
    if status == 429 or status >= 500:
        raise BackendUnavailable("The authorization server of the back end cannot answer at the moment")
    error = error_code(body)
    if status == 401 or error in _OWN_FAULTS:
        raise BackendUnavailable(
            "The authorization server of the back end does not accept the gateway's client; check the entries clientId "
            "and clientSecret of the tool's secret"
        )
    if status not in {400, 403} or error is None:
        raise BackendProtocolError(
            "The authorization server of the back end did not answer like one; check authentication.tokenUrl"
        )
    if request.subject is not None:
        raise UpstreamAccessDenied("The authorization server gives you no access to the back end of this tool")
    raise BackendUnavailable(
        "The authorization server of the back end gives the gateway no token; check authentication.audience and scopes"
    )


def error_code(body: bytes) -> str | None:
    """The registered OAuth error code of a response; None if there is none or it is not registered."""
    code = _json(body).get("error")
    return code if isinstance(code, str) and code in KNOWN_ERRORS else None


def _token(answer: JsonObject, request: TokenRequest) -> GrantedToken:
    token, kind = answer.get("access_token"), answer.get("token_type")
    if not isinstance(token, str) or len(token) > MAX_TOKEN_LENGTH or not _ACCESS_TOKEN.fullmatch(token):
        raise _nonsense("without a usable access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":  # RFC 6749 section 7.1: others must not be used
        raise _nonsense("with a token that is not a bearer token")
    if request.subject is not None:
        issued = answer.get("issued_token_type")
        if not (issued is None or isinstance(issued, str)) or issued not in _TOKEN_TYPES:
            raise _nonsense("with a token that is not an access token")
        if not _is_for(token, request.audience):
            raise _nonsense("with a token for another audience")
    return GrantedToken(token, _lifetime(answer.get("expires_in")))


def _is_for(token: str, audience: str | None) -> bool:
    """False if a token names another audience. A server may ignore the parameter `audience`, and its token could then
    be used at the gateway itself. Detectable only for tokens that name their audience (RFC 9068)."""
    parts = token.split(".")
    if audience is None or len(parts) != 3:
        return True
    try:
        claims = _json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return True
    named = claims.get("aud")
    return named is None or audience == named or (is_array(named) and audience in named)


def _lifetime(expires_in: Any) -> float | None:
    """Seconds from `expires_in`, which some servers write as text."""
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float, str)):
        return None
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _json(body: bytes) -> JsonObject:
    try:
        return as_object(pydantic_core.from_json(body))
    except ValueError:
        return {}


def _nonsense(how: str) -> BackendProtocolError:
    return BackendProtocolError(f"The authorization server of the back end answered {how}")
