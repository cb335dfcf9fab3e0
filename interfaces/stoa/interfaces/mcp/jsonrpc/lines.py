"""Messages as lines (2025-11-25 and 2026-07-28, "stdio")."""

from collections.abc import Iterator

LINE_LIMIT = 4 * 1024 * 1024
"""Bytes of one message, as over HTTP."""


class Lines:
    """Cuts a stream of bytes into lines. A line longer than `limit` bytes becomes None, and takes no memory."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._is_skipping = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The lines that end in this chunk, without line feeds; empty ones are left out."""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            yield from self._add(piece)
            yield from self.end()
        yield from self._add(rest)

    def _add(self, piece: bytes) -> Iterator[None]:
        if self._is_skipping:
            return
        self._rest += piece
        if len(self._rest) > self._limit:
            self._rest.clear()
            self._is_skipping = True
            yield None

    def end(self) -> Iterator[bytes]:
        """The line that ends here, at a line feed or at the end of the input; nothing if it is empty."""
        if self._rest and not self._is_skipping:
            yield bytes(self._rest)
        self._rest.clear()
        self._is_skipping = False
