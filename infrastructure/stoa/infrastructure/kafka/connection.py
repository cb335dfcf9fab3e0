"""A guarded connection to one broker.

The gateway resolves the name, checks every address by the outbound rules and connects to the address that it checked;
brokers are named by the cluster itself, so the rules hold for each of them, not only for the first. TLS still verifies
the name.
"""

import asyncio
import io
import struct
from collections.abc import Callable
from typing import Any, cast

from aiokafka.conn import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    AIOKafkaConnection,
)
from aiokafka.errors import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    SaslAuthenticationFailed,
)

from stoa.infrastructure.http_client import HostResolver, OutboundRules

CONNECT_SECONDS = 10.0
MAX_FETCHED_BYTES = 32 * 1024 * 1024
"""Upper bound on a response with records. Fetches ask for much less, but a broker sends the first batch whole."""
MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Upper bound on any other response: the metadata of a hundred thousand partitions, whose rows take more in memory."""
_QUICKLY_READ_BYTES = 64 * 1024
"""More is read in a thread: aiokafka reads in Python, a megabyte in a second, and other calls would wait."""
_FETCH = 1
"""API key in the protocol."""


class GuardedConnection(AIOKafkaConnection):  # type: ignore[misc]
    """aiokafka's connection (version negotiation, SASL, requests by correlation id) with a guarded socket."""

    def __init__(self, host: str, port: int, rules: OutboundRules, resolver: HostResolver, **options: Any) -> None:
        super().__init__(host, port, **options)  # pyright: ignore[reportUnknownMemberType]  # its arguments are untyped
        self._loop: Any = _GuardedLoop(asyncio.get_running_loop(), rules, resolver)

    @property
    def was_opened(self) -> bool:
        """True if there is, or was, a connection; it then has an end to wait for."""
        return bool(self._loop.was_opened)

    def authenticator_oauth(self) -> Any:
        return _OAuthBearer(cast("Any", self._sasl_oauth_token_provider))  # pyright: ignore[reportUnknownMemberType]

    @staticmethod
    async def _read(self_ref: Any) -> None:
        """Reads responses as the base class does, but none that is too large, and large ones in a thread. The
        connection is held by a weak reference, so that one that was forgotten is collected."""
        connection = self_ref()
        if connection is None:
            return
        reader: asyncio.StreamReader = connection._reader
        del connection
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            connection = self_ref()
            if connection is None:
                return
            request = connection._requests[0][1] if connection._requests else None
            del connection
            is_fetch = request is not None and request.API_KEY == _FETCH
            if not 0 <= size <= (MAX_FETCHED_BYTES if is_fetch else MAX_FRAME_BYTES):
                raise ConnectionError("a response is too large")
            frame = await reader.readexactly(size)
            is_read = size > _QUICKLY_READ_BYTES and request is not None
            response = await asyncio.to_thread(_ReadResponse, request, frame) if is_read else None
            connection = self_ref()
            if connection is None:
                return
            if response is not None:
                correlation_id, _, future = connection._requests[0]
                connection._requests[0] = (correlation_id, response, future)
            connection._handle_frame(frame)
            del connection


class _ReadResponse:
    """A response that was read already, in the place of the request that reads it."""

    def __init__(self, request: Any, frame: bytes) -> None:
        """Raises what aiokafka raises for a response that is none."""
        content = io.BytesIO(frame)
        self._header = request.parse_response_header(content)
        self._response = request.RESPONSE_TYPE.decode(content)
        self.RESPONSE_TYPE = self

    def parse_response_header(self, _: Any) -> Any:
        return self._header

    def decode(self, _: Any) -> Any:
        return self._response


class _OAuthBearer:
    """The client's side of OAUTHBEARER (RFC 7628). aiokafka's takes the server's refusal, which comes as a challenge,
    for success, and the next request then fails for no reason that can be seen."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._has_sent = False

    async def step(self, challenge: bytes | None) -> tuple[bytes, bool] | None:
        if not self._has_sent:
            self._has_sent = True
            return f"n,,\x01auth=Bearer {await self._provider.token()}\x01\x01".encode(), True
        if challenge:
            raise SaslAuthenticationFailed
        return None


class _GuardedLoop:
    """The event loop as the connection sees it: opening a connection is guarded, everything else is the loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rules: OutboundRules, resolver: HostResolver) -> None:
        self._loop = loop
        self._rules = rules
        self._resolver = resolver
        self.was_opened = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, *, ssl: Any
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        addresses = await self._resolver.addresses(host)
        for address in addresses:
            self._rules.check(address)
        failure: OSError | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    made = await self._loop.create_connection(
                        protocol_factory, address, port, ssl=ssl, server_hostname=host if ssl else None
                    )
                self.was_opened = True
                return made
            except OSError as problem:
                failure = problem
        raise failure or OSError("no address")
