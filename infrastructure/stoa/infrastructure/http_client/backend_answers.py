"""What calls of back ends over HTTP share, whichever client makes them: bounds, the gateway's name, unpacking."""

import asyncio
from functools import lru_cache
from importlib.metadata import version

from stoa.domain.errors import BackendProtocolError
from stoa.infrastructure.http_client.compression import ACCEPTED, CorruptEncoding, TooLarge, unpack

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_VALUES = 500_000
"""Upper bound on the values of a JSON answer that is read whole: no other thread has the interpreter while it is read,
and the time depends on its values more than on its bytes."""
CONNECT_TIMEOUT_SECONDS = 10.0
USER_AGENT = f"stoa-mcp-gateway/{version('stoa-mcp-gateway')}"
HEADERS = {"User-Agent": USER_AGENT, "Accept-Encoding": ACCEPTED}
"""Of each request that does not set them."""

_COUNTED_BYTES = 256 * 1024
_QUICKLY_UNPACKED_BYTES = 64 * 1024
"""More is unpacked in a thread, so that other calls do not wait."""


async def unpacked(body: bytes, encoding: str, tool: str, limit: int) -> bytes:
    """The content of `body`, at most `limit` bytes. Raises BackendProtocolError."""
    try:
        return await unpacked_or_too_large(body, encoding, tool, limit)
    except TooLarge:
        raise too_large(tool, limit) from None


async def unpacked_or_too_large(body: bytes, encoding: str, tool: str, limit: int) -> bytes:
    """Like `unpacked`, but raises TooLarge, which has the start of the content."""
    try:
        if len(body) < _QUICKLY_UNPACKED_BYTES:
            return unpack(body, encoding, limit)
        return await asyncio.to_thread(unpack, body, encoding, limit)
    except CorruptEncoding:
        raise BackendProtocolError(f"The back end of {tool} failed: its answer is wrongly encoded") from None


def has_many_values(body: bytes) -> bool:
    """True if a JSON text may have more than MAX_VALUES values. Commas within its strings count, too."""
    count = 0
    for start in range(0, len(body), _COUNTED_BYTES):
        count += body.count(b",", start, start + _COUNTED_BYTES)
        if count > MAX_VALUES:
            return True
    return False


def too_large(tool: str, limit: int) -> BackendProtocolError:
    return BackendProtocolError(f"The back end of {tool} answered more than {limit} bytes")


@lru_cache(maxsize=128)
def content_type(header: str) -> tuple[str, str]:
    """Media type, lower case, and charset of a Content-Type header."""
    media_type, *parameters = header.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and (charset := value.strip().strip("\"'")):
            return media_type.strip().lower(), charset.lower()
    return media_type.strip().lower(), "utf-8"
