"""Parses a client's JSON without keeping other requests waiting.

The parser holds the interpreter's lock from beginning to end, so a thread would not help. Instead the number of values
is bounded before parsing, and after a large text the parser pauses for as long as it worked before it takes the next
one.
"""

import codecs
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pydantic_core

LARGE_BYTES = 64 * 1024
"""Size up to which a text is parsed at once, in 2 ms at most."""
MAX_VALUES = 100_000
"""Upper bound on the values of one text, counted by its commas, colons and opening brackets: 4 to 30 ms of parsing, and
at most as much again for each stage that reads all of them."""

_PIECE_BYTES = 32 * 1024
_OTHER_BYTES = bytes(set(range(256)) - set(b",:[{"))


class TooManyValues(ValueError):
    """The text has too many values to be parsed."""

    def __init__(self) -> None:
        super().__init__(f"the JSON text holds more than {MAX_VALUES} values; send less at a time")


def parse_json(text: bytes | bytearray) -> Any:
    """The value of a JSON text; a byte order mark before it is skipped (RFC 8259 section 8.1). Raises ValueError when
    `text` is not JSON, or TooManyValues."""
    if text.startswith(codecs.BOM_UTF8):  # noqa: FURB188  # which copies a bytearray in any case
        text = text[len(codecs.BOM_UTF8) :]
    if len(text) > LARGE_BYTES and _has_too_many(text):
        raise TooManyValues
    return pydantic_core.from_json(text, allow_inf_nan=False)


class PacedParser:
    """Parses like `parse_json`, with pauses. `rest` is the sleep function (None: asyncio's); `clock` measures its work,
    in seconds."""

    def __init__(
        self,
        rest: Callable[[float], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._rest = rest or _sleep
        self._clock = clock
        self._free_at = 0.0

    async def parse(self, text: bytes | bytearray) -> Any:
        if len(text) <= LARGE_BYTES:
            return parse_json(text)
        while (wait := self._free_at - self._clock()) > 0:  # again after waiting: another text may have come first
            await self._rest(wait)
        started = self._clock()
        try:
            return parse_json(text)
        finally:
            ended = self._clock()
            self._free_at = ended + (ended - started)


async def _sleep(seconds: float) -> None:
    import asyncio  # is 50 ms of a start, which nothing that is parsed at once has to wait for

    await asyncio.sleep(seconds)


def _has_too_many(text: bytes | bytearray) -> bool:
    """Counts in pieces that stay small: fresh memory for copies of the whole would take longer than counting, and a
    text with far too many values is refused for a fraction of the work."""
    values = quotes = end = 0
    in_string = False
    with memoryview(text) as view:
        while end < len(text):
            start, end = end, end + _PIECE_BYTES
            piece = bytes(view[start:end])
            if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # an escape is not cut in two
                piece += view[end : end + 1]
                end += 1
            outside = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
            values += len(b"".join(outside[in_string::2]).translate(None, _OTHER_BYTES))
            quotes += len(outside) - 1
            in_string ^= len(outside) % 2 == 0
            if values > MAX_VALUES or quotes > 4 * MAX_VALUES:  # strings alone may be too many
                return True
    return False
