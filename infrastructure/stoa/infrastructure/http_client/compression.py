"""Decompresses responses. Not left to aiohttp, because it accepts half a gzip stream as a whole one."""

import zlib

ACCEPTED = "gzip, deflate"

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""Window bits that select the container (zlib, `inflateInit2`)."""


class TooLarge(ValueError):
    """The decompressed content is longer than allowed."""


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
                raise TooLarge
            if not stream.eof:
                raise CorruptEncoding
            body = stream.unused_data  # gzip may be several streams in a row
    except zlib.error as error:
        raise CorruptEncoding from error
    return bytes(content)


def _window_bits(encoding: str, body: bytes) -> int:
    if encoding in {"gzip", "x-gzip"}:
        return _GZIP
    if encoding == "deflate":  # meant is zlib's format, but some servers send the stream without its header
        return _ZLIB if body[0] & 0x0F == zlib.DEFLATED else _RAW
    raise CorruptEncoding
