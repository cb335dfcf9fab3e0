"""Names of generated tools: deterministic, legal for every client that was seen, unique within one conversion.

Clients prefix names with the server's and cut or refuse what is longer than 60 or 64 characters, and one bad name can
take all tools of a server with it; hence the small alphabet and the limit of 48.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

NAME_LIMIT = 48
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]+")


def tool_name(text: str, prefix: str = "", suffix: str = "") -> str:
    """A name made of `text`, always matching `^[a-zA-Z0-9_-]{1,48}$`; equal input gives the equal name.

    Illegal characters become `_`. A name that is too long, or of which nothing is left, ends in six hex digits of the
    SHA-256 of the whole input, so that names which differ late stay apart.
    """
    slug = legal(text).strip("_-")
    name = f"{legal(prefix)}{slug}{legal(suffix)}"
    if slug and len(name) <= NAME_LIMIT:
        return name
    return shortened(name if slug else f"{legal(prefix)}tool", f"{prefix}\x1f{text}\x1f{suffix}", NAME_LIMIT)


def shortened(name: str, identity: str, limit: int) -> str:
    """`name` cut so that `_` and six hex digits of the SHA-256 of `identity` still fit within `limit`."""
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{name[: limit - 7].rstrip('_-')}_{digest}"


def unique(names: Sequence[str]) -> list[str]:
    """The names in their order, the second and later ones of a kind with `_2`, `_3`, ... appended.

    A name that stands in the list already is never made, and no name grows beyond the limit.
    """
    numbered, used = NumberedNames(NAME_LIMIT, names), set[str]()
    result: list[str] = []
    for name in names:
        result.append(numbered.next(name) if name in used else name)
        used.add(name)
    return result


class NumberedNames:
    """Numbers equal names with the lowest free number from 2 on, `ant_2`, `ant_3`, no longer than a limit. The search
    continues where it last ended: any number of equal names takes one look at each number."""

    def __init__(self, limit: int, taken: Iterable[str] = ()) -> None:
        self._limit = limit
        self._taken = set(taken)
        self._next: dict[tuple[str, int], int] = {}
        """The next number to try, by the text before the number and its count of digits."""
        self._digits: dict[str, int] = {}
        """The least count of digits that is not used up, by name."""

    def take(self, name: str) -> bool:
        """Take a name as it is; False if it is taken already."""
        is_free = name not in self._taken
        self._taken.add(name)
        return is_free

    def next(self, name: str) -> str:
        digits = self._digits.get(name, 1)
        while True:
            stem = name[: self._limit - digits - 1]
            number = self._next.get((stem, digits), max(2, 10 ** (digits - 1)))
            while number < 10**digits and f"{stem}_{number}" in self._taken:
                number += 1
            self._next[stem, digits] = number + 1
            if number < 10**digits:
                self._taken.add(f"{stem}_{number}")
                return f"{stem}_{number}"
            digits += 1
            self._digits[name] = digits


def legal(text: str) -> str:
    """Drops accents and turns every run of other characters into one underscore."""
    if text.isascii():
        return _ILLEGAL.sub("_", text)
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return _ILLEGAL.sub("_", plain)
