"""HTTP+SSE, the transport of revision 2024-11-05: one stream of events, whose first one names where to POST."""

import asyncio
import ssl
from typing import Any

from yarl import URL

from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.domain.errors import BackendError, BackendProtocolError, BackendUnavailable
from stoa.infrastructure.http_client.backend_answers import content_type
from stoa.infrastructure.http_client.http1 import Http1Client
from stoa.infrastructure.http_client.http1.pool import origin_of
from stoa.infrastructure.http_client.http1_errors import translated_failure
from stoa.infrastructure.mcp_upstream.duplex import DuplexSession
from stoa.infrastructure.mcp_upstream.events import EventReader, EventTooLong
from stoa.infrastructure.mcp_upstream.messages import MAX_MESSAGE_BYTES, flood
from stoa.infrastructure.mcp_upstream.per_second import MAX_LINES, PerSecond
from stoa.infrastructure.mcp_upstream.session import NO_ACCESS, Access


class SseSession(DuplexSession):
    """Begins with `connect`."""

    def __init__(
        self,
        url: str,
        whose: str,
        capabilities: ClientCapabilities,
        http: Http1Client,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(whose, capabilities)
        self._url = URL(url)
        self._http = http
        self._fixed = {"Accept-Encoding": "identity", **dict(headers)}
        self._origin = origin_of(self._url, tls)
        self._endpoint: asyncio.Future[URL] = asyncio.get_running_loop().create_future()
        self._reader: asyncio.Task[None] | None = None

    async def connect(self, access: Access) -> None:
        """Open the stream and learn where to POST. Raises BackendUnavailable or BackendProtocolError."""
        self._reader = asyncio.create_task(self._read(access), name="read an upstream MCP server")
        either: list[asyncio.Future[Any]] = [self._reader, self._endpoint]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._endpoint.done():
            raise self._problem or self._gone()

    async def close(self) -> None:
        self._end(self._gone())
        tasks = [*self._parting, *([] if self._reader is None else [self._reader])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._endpoint.cancel()

    async def _discover(self, access: Access, *, is_only: bool) -> bool:
        del access, is_only  # the transport is older than the stateless era
        return False

    async def _read(self, access: Access) -> None:
        problem: BackendError = self._gone()
        try:
            await self._follow(access)
        except (BackendProtocolError, BackendUnavailable) as failed:
            problem = failed
        except EventTooLong:
            problem = BackendProtocolError(f"The back end of {self.whose} answered more than {MAX_MESSAGE_BYTES} bytes")
        except OSError as lost:
            problem = translated_failure(lost, self.whose)
        self._end(problem)

    async def _follow(self, access: Access) -> None:
        headers = {**self._fixed, "Accept": "text/event-stream"}
        url = await access.apply(headers, self._url)
        async with await self._http.request(self._origin, "GET", url.raw_path_qs, headers, None, None) as response:
            media_type = content_type(response.head.header("Content-Type") or "")[0]
            if response.status != 200 or media_type != "text/event-stream":
                raise BackendUnavailable(f"The back end of {self.whose} failed: it answered {response.status}")
            reader, pace, lines = EventReader(MAX_MESSAGE_BYTES), PerSecond(MAX_LINES), 0
            while piece := await response.piece():
                for event in reader.feed(piece):
                    if event.name == "endpoint":
                        self._take_endpoint(event.data)
                    elif event.data:
                        await self._take(event.data)
                if not pace.takes(reader.lines - lines):
                    raise flood(self.whose)
                lines = reader.lines

    def _take_endpoint(self, data: bytes) -> None:
        """At the stream's own origin: the credential is for no other."""
        try:
            endpoint = self._url.join(URL(data.decode("ascii").strip()))
        except ValueError:
            endpoint = None
        if endpoint is None or endpoint.origin() != self._url.origin():
            raise BackendProtocolError(f"The back end of {self.whose} failed: its endpoint is at another origin")
        if not self._endpoint.done():
            self._endpoint.set_result(endpoint)

    async def _write(self, message: bytes, access: Access = NO_ACCESS) -> None:
        if self.is_closed:
            raise self._problem or self._gone()
        headers = {**self._fixed, "Content-Type": "application/json"}
        url = await access.apply(headers, self._endpoint.result())
        target = url.raw_path_qs
        async with await self._http.request(self._origin, "POST", target, headers, message, None) as response:
            if not 200 <= response.status < 300:
                raise BackendUnavailable(f"The back end of {self.whose} failed: it answered {response.status}")
