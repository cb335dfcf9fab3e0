"""What of a back end's response headers its caller gets to know.

Some say what the body does not: where the new thing is, when to come again, what the next page is, which version this
was. Besides these the ones that the API's description documents are kept. Headers that carry credentials, or ask for
them, never are, also where they are documented.
"""

import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote, unquote_plus

Headers = tuple[tuple[str, str], ...]
"""Names as they are documented, with values; each name once."""

ALWAYS_KEPT = ("Location", "Retry-After", "Link", "ETag")
TOLD = frozenset({"Location", "Retry-After"})
"""Said in the text as well, for those who do not read anything else."""
MAX_HEADERS = 32
MAX_VALUE = 2048
"""Characters; a longer value is left out, because half a URL leads elsewhere."""

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
    """The names to look for: those that are always kept, and what may be kept of the documented ones."""
    found = {name.lower(): name for name in ALWAYS_KEPT}
    for name in documented:
        lower = name.lower()
        if _NAME.fullmatch(name) and lower not in _TRANSPORT and not _SECRET.search(name):
            found.setdefault(lower, name)
    return tuple(found.values())[:MAX_HEADERS]


def kept(names: Iterable[str], values_of: Callable[[str], list[str]], secrets: Iterable[str] = ()) -> Headers:
    """The headers of `names` that are there. `values_of`: all values of a name. Left out is what is long, not printable
    or empty, names a user in a URL, or repeats one of `secrets`."""
    found: list[tuple[str, str]] = []
    for name in names:
        value = ", ".join(values_of(name)).strip()
        is_fit = 0 < len(value) <= MAX_VALUE and value.isprintable() and not _USER_IN_URL.search(value)
        if is_fit and not _repeats(value, secrets):
            found.append((name, value))
    return tuple(found)


def _repeats(value: str, secrets: Iterable[str]) -> bool:
    spellings = (value, unquote(value), unquote_plus(value))
    return any(secret in spelling for secret in secrets if secret for spelling in spellings)


def told(headers: Headers) -> str:
    """Those that are said in the text, a line each; empty without any."""
    return "\n".join(f"{name}: {value}" for name, value in headers if name in TOLD)
