"""Assigns the keys of a tool's arguments: legal for every client, one for each parameter and body member.

A name that is legal and free stays as it is. Of two equal names the first keeps it and later parameters get their place
appended (`id_query`), body members `body_` before; the binding keeps the names on the wire.
"""

import re
import unicodedata

from stoa.domain.operations.naming import NumberedNames, shortened

NAME_LIMIT = 64
_LEGAL = re.compile(r"^[A-Za-z0-9_.-]{1,64}\Z")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_.-]+")


class ArgumentNames:
    def __init__(self) -> None:
        self._names = NumberedNames(NAME_LIMIT)

    def of_parameters(self, parameters: list[tuple[str, str]]) -> list[str]:
        """Keys for (name, place) pairs, in their order."""
        return self._assign([(name, f"{legal_key(name)}_{place}") for name, place in parameters])

    def of_members(self, names: list[str]) -> list[str]:
        """Keys for the members of the body."""
        return self._assign([(name, f"body_{legal_key(name)}") for name in names])

    def of_body(self) -> str:
        """The key of the whole body."""
        return self._assign([("body", "request_body")])[0]

    def _assign(self, wanted: list[tuple[str, str]]) -> list[str]:
        """Assigns legal names first, so that no rewritten name takes the place of one that could stay."""
        chosen: dict[int, str] = {}
        for position, (name, _) in enumerate(wanted):
            if _LEGAL.match(name) and self._names.take(name):
                chosen[position] = name
        for position, (name, other) in enumerate(wanted):
            if position not in chosen:
                chosen[position] = self._free([name, other])
        return [chosen[position] for position in range(len(wanted))]

    def _free(self, candidates: list[str]) -> str:
        legal = [legal_key(candidate) for candidate in candidates]
        name = next((candidate for candidate in legal if self._names.take(candidate)), None)
        return self._names.next(legal[-1][: NAME_LIMIT - 4]) if name is None else name


def legal_key(name: str) -> str:
    """`filter[name]` as `filter_name`, `$top` as `top`, `StartTime<` as `StartTime_lt`."""
    text = name.replace("<", "_lt_").replace(">", "_gt_") if "<" in name or ">" in name else name
    if not text.isascii():  # letters without their accents are read more easily than none
        decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
        text = "".join(character for character in decomposed if not unicodedata.combining(character))
    key = _ILLEGAL.sub("_", text).strip("_") or "argument"
    return key if len(key) <= NAME_LIMIT else shortened(key, name, NAME_LIMIT)
