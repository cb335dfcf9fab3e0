"""One HTTP session to the API server.

Why it is not that of kubernetes-asyncio: docs/decisions/0059-kubernetes-watcher.md.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pydantic_core

from stoa.application.concurrency.pace import in_turns
from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.infrastructure.kubernetes.api.access import ServerAccess, kubeconfig_access, pod_access
from stoa.infrastructure.kubernetes.api.errors import NO_ANSWER, ApiError, refused

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Upper bound on one event of a watch; etcd holds objects of 1.5 MiB."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Upper bound on one response."""
REQUEST_SECONDS = 10.0
"""Timeout of a request that is no watch."""
_LONGEST_RETRY_AFTER = 30.0

Query = Mapping[str, str]


class KubernetesConnection:
    """`kubeconfig`: None for the service account of the pod. Connects on first use.

    The configuration is read again after the server refused the credentials or TLS failed: tokens and the cluster's CA
    are replaced while the gateway runs.
    """

    def __init__(self, kubeconfig: Path | None = None, *, request_seconds: float = REQUEST_SECONDS) -> None:
        self._kubeconfig = kubeconfig
        self._request_seconds = request_seconds
        self._opened: tuple[aiohttp.ClientSession, ServerAccess] | None = None
        self._one_at_a_time = asyncio.Lock()
        self.requests = 0
        """Requests sent so far."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: JsonObject | None = None,
        content_type: str = "application/json",
        timeout_seconds: float | None = None,
    ) -> bytes:
        """The body of a successful response, within `timeout_seconds`. Raises ApiError."""
        seconds = self._request_seconds if timeout_seconds is None else timeout_seconds
        try:
            async with (
                asyncio.timeout(seconds),
                self._answer(method, path, query, body, content_type, aiohttp.ClientTimeout()) as response,
            ):
                content = bytearray()
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > MAX_BODY_BYTES:
                        raise ApiError(NO_ANSWER, f"the API server's answer is larger than {MAX_BODY_BYTES} bytes")
                return bytes(content)
        except TimeoutError as late:
            raise ApiError(NO_ANSWER, f"the API server did not answer within {seconds:g} s") from late

    async def json(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        content_type: str = "application/json",
        timeout_seconds: float | None = None,
    ) -> JsonObject:
        """The object in a successful response. For small objects that the gateway itself writes. Raises ApiError."""
        text = await self.request(method, path, body=body, content_type=content_type, timeout_seconds=timeout_seconds)
        return as_object(_value_of(text))

    async def lines(
        self, path: str, query: Query, connected: Callable[[], None], *, seconds: float
    ) -> AsyncIterator[bytes]:
        """The lines of a watch as they arrive; ends when the server ends it. `connected` is called when the server has
        agreed to it. `seconds`: after which it is broken off. Raises ApiError."""
        timeouts = aiohttp.ClientTimeout(total=seconds, connect=self._request_seconds)
        async with self._answer("GET", path, query, None, "application/json", timeouts) as response:
            connected()
            rest = bytearray()
            async for chunk in response.content.iter_any():
                rest += chunk
                if b"\n" not in chunk:
                    if len(rest) > MAX_LINE_BYTES:
                        raise ApiError(NO_ANSWER, f"an event is larger than {MAX_LINE_BYTES} bytes")
                    continue
                *lines, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                # In turns, for the one who reads them computes: hundreds of events may come at once, and calls wait.
                async for line in in_turns(lines):
                    if line:
                        yield line

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened[0].close()

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: JsonObject | None,
        content_type: str,
        timeouts: aiohttp.ClientTimeout,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        session, access = await self._session()
        self.requests += 1
        try:
            async with session.request(
                method,
                access.url + path,
                params=query,
                data=None if body is None else pydantic_core.to_json(body),
                headers=await _headers(access, None if body is None else content_type),
                timeout=timeouts,
                allow_redirects=False,
                proxy=access.proxy,
                server_hostname=access.server_name,
            ) as response:
                if not 200 <= response.status < 300:
                    raise await _refusal(response)
                yield response
        except ApiError as error:
            if error.status == 401:
                await self._forget(session)
            raise
        except aiohttp.ClientSSLError as error:
            await self._forget(session)
            raise ApiError(NO_ANSWER, "TLS to the API server failed: check its certificate authority") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(NO_ANSWER, f"the API server does not answer ({type(error).__name__})") from error

    async def _session(self) -> tuple[aiohttp.ClientSession, ServerAccess]:
        async with self._one_at_a_time:
            if self._opened is None:
                access = await (pod_access() if self._kubeconfig is None else kubeconfig_access(self._kubeconfig))
                connector = aiohttp.TCPConnector(limit=0, ssl=access.context, socket_factory=_kept_alive)
                # Without the proxies of the environment: decision 0045. A kubeconfig may name one.
                session = aiohttp.ClientSession(connector=connector, trust_env=False)
                self._opened = session, access
            return self._opened

    async def _forget(self, session: aiohttp.ClientSession) -> None:
        """Make the next request read the configuration anew. The watches of this session end, and begin again."""
        if self._opened is not None and self._opened[0] is session:
            self._opened = None
            await session.close()


async def _headers(access: ServerAccess, content_type: str | None) -> dict[str, str]:
    # Not compressed: the cluster's network is faster than the loop unpacks what others' calls wait for.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "stoa-mcp-gateway"}
    if content_type is not None:
        headers["Content-Type"] = content_type
    authorization = await access.authorization()
    if authorization:
        headers["Authorization"] = authorization
    return headers


def _kept_alive(address: Any) -> socket.socket:
    """A socket whose dead peer is noticed within a minute. A watch sends nothing, and on a quiet cluster it receives
    nothing for half an hour: a connection that was lost without a word would not be noticed otherwise."""
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        option = getattr(socket, name, None)
        if option is not None:
            opened.setsockopt(socket.IPPROTO_TCP, option, value)
    return opened


async def _refusal(response: aiohttp.ClientResponse) -> ApiError:
    text = await response.content.read(64 * 1024)
    try:
        seconds = float(response.headers.get("Retry-After", "0"))
    except ValueError:
        seconds = 0.0
    return refused(response.status, _value_of(text), retry_after_seconds=min(max(seconds, 0.0), _LONGEST_RETRY_AFTER))


def _value_of(text: bytes) -> object:
    try:
        return pydantic_core.from_json(text)
    except ValueError:
        return None
