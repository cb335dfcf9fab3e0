"""HttpClient: small answers of services that the gateway itself depends on, such as the identity provider.

Guarded, with the gateway's trust store and resolver, and nothing else of its surroundings: no cookies are kept, no
proxies of the environment are used, no redirect is followed.
"""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import pydantic_core
from yarl import URL

from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.infrastructure.http_client.backend_answers import HEADERS
from stoa.infrastructure.http_client.compression import CorruptEncoding, TooLarge, unpack
from stoa.infrastructure.http_client.failures import HttpFailure, InvalidResponse, ResponseTooLong
from stoa.infrastructure.http_client.http1 import Http1Client, Response
from stoa.infrastructure.http_client.http1.pool import origin_of
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import OutboundRules

_FORM = "application/x-www-form-urlencoded"


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


class HttpClient:
    """Requests with answers of at most `max_answer_bytes`, each ended after `timeout_seconds`, on kept connections.

    `rules` None: the operator named the address, and it is not checked. After `close` a request opens a new connection.
    """

    def __init__(
        self,
        rules: OutboundRules | None,
        resolver: HostResolver | None,
        *,
        timeout_seconds: float,
        max_answer_bytes: int,
    ) -> None:
        self._client = Http1Client(rules, resolver, headers=HEADERS)
        self._timeout_seconds = timeout_seconds
        self._max_answer_bytes = max_answer_bytes

    async def request(
        self,
        method: str,
        url: str | URL,
        *,
        data: bytes | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """`data`: a body, or the fields of a form. Raises OSError, of which HttpFailure and TimeoutError are kinds; a
        ResponseTooLong as soon as too much has come."""
        try:
            address = URL(url)
        except ValueError:
            raise HttpFailure("its URL is none") from None
        sent = {} if headers is None else dict(headers)
        if isinstance(data, Mapping):
            sent["Content-Type"] = _FORM
            data = urlencode(data).encode("ascii")
        if address.user is not None:
            pair = f"{address.user}:{address.password or ''}"
            sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
        async with asyncio.timeout(self._timeout_seconds):
            response = await self._client.request(
                origin_of(address), method, address.raw_path_qs, sent, data, self._max_answer_bytes
            )
        return HttpAnswer(response.status, self._unpacked(response), response.header("Date"))

    async def close(self) -> None:
        await self._client.close()

    def _unpacked(self, response: Response) -> bytes:
        encoding = response.header("Content-Encoding")
        if not response.body or encoding is None:
            return response.body
        try:
            return unpack(response.body, encoding, self._max_answer_bytes)
        except TooLarge:
            raise ResponseTooLong(f"more than {self._max_answer_bytes} bytes") from None
        except CorruptEncoding:
            raise InvalidResponse("its answer is wrongly encoded") from None
