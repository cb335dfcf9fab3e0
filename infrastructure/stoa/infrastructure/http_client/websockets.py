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
RECEIVE_BYTES = 16 * 1024
"""Bytes that the system keeps of those a peer has sent. aiohttp takes apart at once all that has come,
and bounds messages by their bytes, which empty pings have none of."""


class WebSockets:
    """Opens WebSockets of one kind of back end. Neither compression nor redirects are accepted: the latter would take
    credentials to another address."""

    def __init__(self, rules: OutboundRules, resolver: HostResolver | None) -> None:
        self._rules = rules
        self._resolver = resolver
        self._sessions: set[aiohttp.ClientSession] = set()

    @asynccontextmanager
    async def connected(
        self, url: URL, headers: Mapping[str, str], *, protocol: str, max_message_bytes: int, tls: ssl.SSLContext
    ) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
        """A socket whose control frames the caller reads too. In the end its connection is closed without waiting for
        the peer, who may go on sending; `say_goodbye` is for the caller. Raises aiohttp.WSServerHandshakeError,
        whose status says what was answered instead, and what aiohttp raises."""
        session = self._session()
        self._sessions.add(session)
        try:
            yield await session.ws_connect(
                url, protocols=(protocol,), headers=headers, max_msg_size=max_message_bytes, ssl=tls, autoping=False
            )
        finally:
            # A session for each connection, because only a session ends one without reading what its peer has sent.
            self._sessions.discard(session)
            await session.close()

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, set()
        for session in sessions:
            await session.close()

    def _session(self) -> aiohttp.ClientSession:
        redirects = aiohttp.TraceConfig()
        redirects.on_request_redirect.append(_refuse)
        return open_session(
            self._rules,
            self._resolver,
            aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
            connections=0,
            receive_bytes=RECEIVE_BYTES,
            headers={"User-Agent": USER_AGENT},
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            trace_configs=[redirects],
        )


async def say_goodbye(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Send a close frame (RFC 6455 section 7.1.2), without waiting for the peer's."""
    with suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
        async with asyncio.timeout(0):
            await socket.close()


async def _refuse(_session: aiohttp.ClientSession, _context: Any, params: aiohttp.TraceRequestRedirectParams) -> None:
    """ws_connect has no option for it."""
    answer = params.response
    answer.close()
    raise aiohttp.WSServerHandshakeError(answer.request_info, (), status=answer.status, message=answer.reason or "")
