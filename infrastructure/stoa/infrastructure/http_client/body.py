"""Reading an answer that may be longer than anybody wants."""

import aiohttp


class AnswerTooLong(ValueError):
    """The answer has more bytes than it may have."""


async def bounded_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body. Raises AnswerTooLong as soon as more than `limit` bytes have come, and what aiohttp raises."""
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > limit:
            raise AnswerTooLong(f"more than {limit} bytes")
    return bytes(body)
