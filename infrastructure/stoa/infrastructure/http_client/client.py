"""The one way to open connections over HTTP: guarded, with the gateway's trust store and resolver, and nothing else of
its surroundings: no cookies are kept, no proxies of the environment are used, no redirect is followed unasked.

`open_session` is for adapters that read answers themselves; HttpClient is for small answers. Errors of aiohttp pass
through: each adapter translates them, since it knows for whom.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pydantic_core
from yarl import URL

from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.infrastructure.http_client.connector import guarded_connector
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import OutboundRules


class AnswerTooLong(ValueError):
    """The answer has more bytes than it may have."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    body: bytes
    date: str | None = None
    """The Date header (RFC 9110 section 6.6.1)."""

    def json(self) -> JsonObject:
        """The body as a JSON object; empty when it is none."""
        try:
            return as_object(pydantic_core.from_json(self.body))
        except ValueError:
            return {}


def open_session(
    rules: OutboundRules | None,
    resolver: HostResolver | None,
    timeout: aiohttp.ClientTimeout,
    *,
    connections: int,
    **options: Any,
) -> aiohttp.ClientSession:
    """A session inside the running loop. `rules` None: the operator named the address, and it is not checked.
    `connections` 0: as many as there are requests. `options`: further ones of aiohttp.ClientSession."""
    return aiohttp.ClientSession(
        connector=guarded_connector(rules, resolver, limit=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout,
        trust_env=False,
        **options,
    )


class HttpClient:
    """Requests with answers of at most `max_answer_bytes`, each ended after `timeout_seconds`, on kept connections.

    The session is opened by the first request, in the loop that it runs in. After `close` a request opens another one.
    """

    def __init__(
        self,
        rules: OutboundRules | None,
        resolver: HostResolver | None,
        *,
        timeout_seconds: float,
        max_answer_bytes: int,
        connections: int = 100,
    ) -> None:
        self._rules = rules
        self._resolver = resolver
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._max_answer_bytes = max_answer_bytes
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str | URL,
        *,
        data: bytes | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """`data`: a body, or the fields of a form. Raises AnswerTooLong as soon as too much has come, OSError (of which
        TimeoutError is one), ValueError for what cannot be sent, aiohttp.ClientError and HttpProcessingError."""
        if self._session is None:
            self._session = open_session(self._rules, self._resolver, self._timeout, connections=self._connections)
        async with self._session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
            body = await self._body(response)
            return HttpAnswer(response.status, body, response.headers.get("Date"))

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        while chunk := await response.content.readany():
            body += chunk
            if len(body) > self._max_answer_bytes:
                raise AnswerTooLong(f"more than {self._max_answer_bytes} bytes")
        return bytes(body)
