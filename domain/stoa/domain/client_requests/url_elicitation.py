"""URL elicitation sends a client's user to a web page, for secrets that must not pass through the client: passwords,
keys, payments and consent at another service (MCP 2025-11-25 and 2026-07-28, "Elicitation", URL mode).

The page must make sure that its visitor is the user who made the call, by a login of its own: the URL alone proves
nothing and must not grant access.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from stoa.domain.errors import InvalidInput

MAX_URL_LENGTH = 2048
_VISIBLE_ASCII = re.compile(r"[!-~]+")
_JWT = re.compile(r"^eyJ[\w-]+\.[\w-]+\.[\w-]*$")
_SECRET_NAMES = frozenset({
    "accesstoken", "apikey", "apitoken", "auth", "authorization", "authtoken", "bearer", "clientsecret", "code",
    "credential", "credentials", "idtoken", "jwt", "key", "passwd", "password", "pwd", "refreshtoken", "secret",
    "sessionid", "sessiontoken", "sig", "signature", "token",
})  # fmt: skip
"""Names of query parameters, without case and separators, that say that their value opens something."""


@dataclass(frozen=True, slots=True)
class UrlElicitationRequest:
    """Requests that the client's user opens a page. `accept` means that the user agreed to, not that it was done."""

    message: str
    """The reason, shown to the user."""
    url: str
    """https, or http on loopback; without credentials. It must not name the user either, which cannot be checked."""
    elicitation_id: str
    """Unique; names the elicitation in `notifications/elicitation/complete` (2025-11-25 only)."""

    def __post_init__(self) -> None:
        if not self.elicitation_id:
            raise InvalidInput("elicitation: elicitation_id must not be empty")
        parts = _split(self.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
            raise InvalidInput("elicitation: the URL must begin with https:// (http:// on loopback only)")
        if "@" in parts.netloc:
            raise InvalidInput("elicitation: the URL must not carry a user name or password")
        for name, value in [*_pairs(parts.query), *_pairs(parts.fragment)]:
            if re.sub(r"[-_.]", "", name.lower()) in _SECRET_NAMES or _JWT.match(value):
                raise InvalidInput(
                    f"elicitation: the URL's parameter {name[:40]!r} looks like a credential; the page must ask its "
                    "visitor to log in instead"
                )

    @property
    def host(self) -> str:
        """The host in lower case, without the port."""
        return urlsplit(self.url).hostname or ""


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH or not _VISIBLE_ASCII.fullmatch(url) or "\\" in url:
        raise InvalidInput(f"elicitation: the URL must be at most {MAX_URL_LENGTH} visible ASCII characters")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as caught:
        raise InvalidInput("elicitation: the URL's host or port cannot be read") from caught
    if not parts.hostname:
        raise InvalidInput("elicitation: the URL must be absolute")
    return parts


def _pairs(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text.replace(";", "&"), keep_blank_values=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
