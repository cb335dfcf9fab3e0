"""Calling back ends over HTTP: one aiohttp session with keep-alive, and bounded answers.

Cookies are not kept, proxies of the environment are not used, and the caller of a session follows redirects itself.
"""

import asyncio
from functools import lru_cache
from importlib.metadata import version

import aiohttp

from stoa.domain.errors import BackendProtocolError
from stoa.infrastructure.http_client.client import open_session
from stoa.infrastructure.http_client.compression import ACCEPTED, CorruptEncoding, TooLarge, unpack
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import ANYWHERE, OutboundRules

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
"""Of one header line of an answer; aiohttp's 8 KiB is less than some content security policies."""
CONNECT_TIMEOUT_SECONDS = 10.0

USER_AGENT = f"stoa-mcp-gateway/{version('stoa-mcp-gateway')}"
_QUICKLY_UNPACKED_BYTES = 64 * 1024
"""More is unpacked in a thread, so that other calls do not wait."""


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
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": ACCEPTED},
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
            raise self._too_large()
        if body and (encoding := response.headers.get("Content-Encoding")):
            body = await self._unpacked(body, encoding)
        return body

    async def _read_on(self, content: aiohttp.StreamReader, body: bytearray) -> bytes:
        while len(body) <= self._limit:
            chunk = await content.readany()
            if not chunk:
                return bytes(body)
            body += chunk
        return bytes(body)

    async def _unpacked(self, body: bytes, encoding: str) -> bytes:
        try:
            if len(body) < _QUICKLY_UNPACKED_BYTES:
                return unpack(body, encoding, self._limit)
            return await asyncio.to_thread(unpack, body, encoding, self._limit)
        except TooLarge:
            raise self._too_large() from None
        except CorruptEncoding:
            raise BackendProtocolError(f"The back end of {self._tool} failed: its answer is wrongly encoded") from None

    def _too_large(self) -> BackendProtocolError:
        return BackendProtocolError(f"The back end of {self._tool} answered more than {self._limit} bytes")


def status_of(response: aiohttp.ClientResponse) -> str:
    """`404 Not Found`, for people."""
    return f"{response.status} {response.reason}" if response.reason else str(response.status)


@lru_cache(maxsize=128)
def content_type(header: str) -> tuple[str, str]:
    """Media type, lower case, and charset of a Content-Type header."""
    media_type, *parameters = header.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and (charset := value.strip().strip("\"'")):
            return media_type.strip().lower(), charset.lower()
    return media_type.strip().lower(), "utf-8"
