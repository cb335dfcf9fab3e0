"""Checks names that operators configure: hosts, web origins, and the gateway's own URL.

They are compared byte for byte with values that clients send, so a name that no client would send is refused at the
start. Each check raises ValueError with the form to write.
"""

import ipaddress
import re
from urllib.parse import urlsplit

_HOST = re.compile(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[0-9]+)?")
_OWN_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """The origin of a URL as browsers write it (RFC 6454 section 6.2)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{ipaddress.IPv6Address(host)}]"
    is_own_port = parts.port is None or parts.port == _OWN_PORTS.get(parts.scheme)
    origin = f"{parts.scheme}://{host}" + ("" if is_own_port else f":{parts.port}")
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(f"{url!r} has no web origin")
    return origin


def check_origin(value: str) -> None:
    try:
        meant = origin_of(value)
    except ValueError:
        meant = ""
    if meant != value:
        advice = f"write {meant}" if meant else "name each origin that may call"
        raise ValueError(
            f"{value!r} is no web origin as browsers write it, SCHEME://HOST or SCHEME://HOST:PORT, without a path and "
            f"without the scheme's own port; {advice}"
        )


def check_host(value: str) -> None:
    if not _HOST.fullmatch(value):
        raise ValueError(f"{value!r}: write a host name without scheme, port and path; .NAME for all below it")


def check_public_url(value: str) -> None:
    if not is_web_url(value):
        raise ValueError("write it as https://HOST or https://HOST:PORT")
    parts = urlsplit(value)
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError(
            "write it as https://HOST or https://HOST:PORT, with nothing behind it: clients look for the gateway at "
            "/mcp of that host and for its metadata at /.well-known"
        )


def is_web_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in _OWN_PORTS and parts.port != 0 and bool(origin_of(value))
    except ValueError:  # also of a port that is none
        return False


def is_any_address(host: str) -> bool:
    """True if the host stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == "0"
