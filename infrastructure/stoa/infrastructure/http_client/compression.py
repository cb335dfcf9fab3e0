"""Decompresses responses. Not left to aiohttp, because it accepts half a gzip stream as a whole one."""

import zlib
from collections.abc import Iterator
from typing import Any

ACCEPTED = "gzip, deflate"

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""Window bits that select the container (zlib, `inflateInit2`)."""


class TooLarge(ValueError):
    """The decompressed content is longer than allowed. `start`: as much of it as is."""

    def __init__(self, start: bytes = b"") -> None:
        super().__init__()
        self.start = start


class CorruptEncoding(ValueError):
    """The content does not match its encoding, or ends too early."""


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The content of `body`, at most `limit` bytes; never holds much more than that. Raises TooLarge or
    CorruptEncoding."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return body
    content = bytearray()
    try:
        while body:
            stream = zlib.decompressobj(_window_bits(encoding, body))
            content += stream.decompress(body, limit + 1 - len(content))
            if len(content) > limit:
                raise TooLarge(bytes(content[:limit]))
            if not stream.eof:
                raise CorruptEncoding
            body = stream.unused_data  # gzip may be several streams in a row
    except zlib.error as error:
        raise CorruptEncoding from error
    return bytes(content)


def unpack_start(body: bytes, encoding: str, limit: int) -> bytes:
    """The content of the start of a body, at most `limit` bytes. Raises CorruptEncoding."""
    content = bytearray()
    for part in Unpacking(encoding).feed(body):
        content += part
        if len(content) >= limit:
            break
    return bytes(content[:limit])


class Unpacking:
    """Decompresses a body that comes in pieces. Raises CorruptEncoding."""

    _PIECE_BYTES = 64 * 1024

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding.strip().lower()
        self._stream: Any = None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The content that this piece gives, in parts of bounded size: whoever has enough stops asking."""
        if self._encoding in {"", "identity"}:
            yield piece
            return
        part = b""
        try:
            while piece or len(part) == self._PIECE_BYTES:  # a full part: there may be more of it
                if self._stream is None or self._stream.eof:
                    if not piece:
                        return
                    self._stream = zlib.decompressobj(_window_bits(self._encoding, piece))
                part = self._stream.decompress(piece, self._PIECE_BYTES)
                yield part
                piece = self._stream.unused_data or self._stream.unconsumed_tail
        except zlib.error as error:
            raise CorruptEncoding from error


def _window_bits(encoding: str, body: bytes) -> int:
    if encoding in {"gzip", "x-gzip"}:
        return _GZIP
    if encoding == "deflate":  # meant is zlib's format, but some servers send the stream without its header
        return _ZLIB if body[0] & 0x0F == zlib.DEFLATED else _RAW
    raise CorruptEncoding
