"""Calling back ends over HTTP where answers are streams or sockets: one aiohttp session with keep-alive, and bounded
answers. Plain requests are made by `http1`.

Cookies are not kept, proxies of the environment are not used, and the caller of a session follows redirects itself.
"""

import aiohttp

from stoa.infrastructure.http_client.aiohttp_session import open_session
from stoa.infrastructure.http_client.backend_answers import (
    CONNECT_TIMEOUT_SECONDS,
    HEADERS,
    MAX_ANSWER_BYTES,
    USER_AGENT,
    content_type,
    too_large,
    unpacked,
)
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import ANYWHERE, OutboundRules

__all__ = [
    "CONNECT_TIMEOUT_SECONDS",
    "MAX_ANSWER_BYTES",
    "MAX_HEADER_BYTES",
    "USER_AGENT",
    "BackendSession",
    "BodyReader",
    "content_type",
    "status_of",
]

MAX_HEADER_BYTES = 64 * 1024
"""Of one header line of an answer; aiohttp's 8 KiB is less than some content security policies."""


class BackendSession:
    """The session of one back end, so one pool of connections for all its tools; opened by the first call.

    `rules`: which addresses may be called; an embedding program that registers its own tools trusts them. `resolver`:
    shared with other connections; None: its own, which asks DNS.
    """

    def __init__(
        self,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> None:
        self._rules = rules
        self._resolver = resolver
        self._connect_timeout_seconds = connect_timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> aiohttp.ClientSession:
        """Inside the running loop. The session has no total timeout: the deadline is the caller's."""
        if self._session is None:
            self._session = open_session(
                self._rules,
                self._resolver,
                # Without a total: the deadline of the call is the pipeline's.
                aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_seconds),
                connections=0,
                headers=HEADERS,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        return self._session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class BodyReader:
    """Reads the answers to one tool: at most `limit` bytes, unpacked. The session must leave them packed
    (`auto_decompress=False`)."""

    def __init__(self, tool: str, limit: int) -> None:
        self._tool = tool
        self._limit = limit

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """Raises BackendProtocolError, and what aiohttp raises."""
        content = response.content
        body = await content.readany()
        if not content.at_eof():
            body = await self._read_on(content, bytearray(body))
        if len(body) > self._limit:
            raise too_large(self._tool, self._limit)
        if body and (encoding := response.headers.get("Content-Encoding")):
            body = await unpacked(body, encoding, self._tool, self._limit)
        return body

    async def _read_on(self, content: aiohttp.StreamReader, body: bytearray) -> bytes:
        while len(body) <= self._limit:
            chunk = await content.readany()
            if not chunk:
                return bytes(body)
            body += chunk
        return bytes(body)


def status_of(response: aiohttp.ClientResponse) -> str:
    """`404 Not Found`, for people."""
    return f"{response.status} {response.reason}" if response.reason else str(response.status)
