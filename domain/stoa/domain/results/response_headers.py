"""The response headers of a back end that its caller gets to see.

Some headers carry facts that the body lacks: the URL of a new resource, the time to retry, the next page, the version.
These are always passed on, and so are those that the API's description documents. Headers that carry or request
credentials never are, documented or not.
"""

import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote, unquote_plus

Headers = tuple[tuple[str, str], ...]
"""Headers by their documented names, with values; each name once."""

ALWAYS_KEPT = ("Location", "Retry-After", "Link", "ETag")
TOLD = frozenset({"Location", "Retry-After"})
"""Headers that are repeated in the text, for clients that read nothing else."""
MAX_HEADERS = 32
MAX_VALUE = 2048
"""Characters of a value. A longer value is left out instead of cut, because half a URL leads elsewhere."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_SECRET = re.compile(
    r"cookie|authenticat|authoriz|auth-|-auth$|^auth$|token|secret|api-?key|password|credential|session|signature"
    r"|csrf|xsrf|assertion",
    re.IGNORECASE,
)
_TRANSPORT = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "date", "keep-alive", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade", "server", "via", "alt-svc"}
)
_USER_IN_URL = re.compile(r"//[^/?#\s]*@")


def kept_names(documented: Iterable[str]) -> tuple[str, ...]:
    """The header names to pass on: the fixed ones, and the documented ones that are safe."""
    names = {name.lower(): name for name in ALWAYS_KEPT}
    for name in documented:
        lower = name.lower()
        if _NAME.fullmatch(name) and lower not in _TRANSPORT and not _SECRET.search(name):
            names.setdefault(lower, name)
    return tuple(names.values())[:MAX_HEADERS]


def kept(names: Iterable[str], values_of: Callable[[str], list[str]], secrets: Iterable[str] = ()) -> Headers:
    """The headers of `names` that the response has. `values_of`: all values of a name. A value is left out if it is too
    long, empty or not printable, names a user in a URL, or repeats one of `secrets`."""
    headers: list[tuple[str, str]] = []
    for name in names:
        value = ", ".join(values_of(name)).strip()
        is_fit = 0 < len(value) <= MAX_VALUE and value.isprintable() and not _USER_IN_URL.search(value)
        if is_fit and not _repeats(value, secrets):
            headers.append((name, value))
    return tuple(headers)


def _repeats(value: str, secrets: Iterable[str]) -> bool:
    spellings = (value, unquote(value), unquote_plus(value))
    return any(secret in spelling for secret in secrets if secret for spelling in spellings)


def told(headers: Headers) -> str:
    """The headers that are repeated in the text, one line each; empty without any."""
    return "\n".join(f"{name}: {value}" for name, value in headers if name in TOLD)
