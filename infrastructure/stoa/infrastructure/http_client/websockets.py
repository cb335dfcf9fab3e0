"""WebSocket connections to back ends (RFC 6455), within the outbound rules."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
from yarl import URL

from stoa.infrastructure.http_client.aiohttp_session import open_session
from stoa.infrastructure.http_client.backend_answers import CONNECT_TIMEOUT_SECONDS, USER_AGENT
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import OutboundRules

MAX_HEADER_BYTES = 64 * 1024
"""Upper bound on one header line of an answer; aiohttp's 8 KiB is less than some content security policies."""
CLOSE_SECONDS = 1.0
"""A peer that does not answer the closing of a connection is given up after this."""


class WebSockets:
    """Opens WebSockets of one kind of back end. Neither compression nor redirects are accepted: the latter would take
    credentials to another address. A session of its own, because refusing redirects costs each request a little."""

    def __init__(self, rules: OutboundRules, resolver: HostResolver | None) -> None:
        self._rules = rules
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def connected(
        self, url: URL, headers: Mapping[str, str], *, protocol: str, max_message_bytes: int, tls: ssl.SSLContext
    ) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
        """A socket whose control frames the caller reads too; closed in the end. Raises aiohttp.WSServerHandshakeError,
        whose status says what was answered instead, and what aiohttp raises."""
        socket = await self._open().ws_connect(
            url,
            protocols=(protocol,),
            headers=headers,
            max_msg_size=max_message_bytes,
            ssl=tls,
            autoping=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),  # pyright: ignore[reportCallIssue]
        )
        try:
            yield socket
        finally:
            # A peer that reads nothing must not hold up the end of a call that was cancelled.
            with suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await socket.close()

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            redirects = aiohttp.TraceConfig()
            redirects.on_request_redirect.append(_refuse)
            self._session = open_session(
                self._rules,
                self._resolver,
                aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
                connections=0,
                headers={"User-Agent": USER_AGENT},
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                trace_configs=[redirects],
            )
        return self._session


async def _refuse(_session: aiohttp.ClientSession, _context: Any, params: aiohttp.TraceRequestRedirectParams) -> None:
    """ws_connect has no option for it."""
    answer = params.response
    answer.close()
    raise aiohttp.WSServerHandshakeError(answer.request_info, (), status=answer.status, message=answer.reason or "")
