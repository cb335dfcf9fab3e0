"""Fetches API descriptions over HTTP, guarded: the author of a location need not be trusted with the gateway's network.

The host is resolved once, every address is checked, and the request goes to a checked address by number, so a name that
changes its address in between (DNS rebinding) gains nothing. Redirects stay on the host; size and time are bounded. A
credential is shown only to a server that refused the request without it.
"""

import asyncio
import re
import zlib
from dataclasses import dataclass

import httpx
from yarl import URL

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import CredentialSource, SpecCredential, SpecDocument, SpecSource
from stoa.domain.errors import InvalidInput, StoaError, Unavailable
from stoa.infrastructure.documents.spec_text import MAX_BYTES, document, too_large
from stoa.infrastructure.http_client import PUBLIC_ONLY, DnsLookUp, HostResolver, OutboundRules
from stoa.infrastructure.http_client.authentication import Sign
from stoa.infrastructure.http_client.problems import connection_problem
from stoa.infrastructure.http_client.spec_addresses import Resolve, checked_addresses
from stoa.infrastructure.http_client.spec_authentication import sign_of
from stoa.infrastructure.http_client.tls import http_context, tls_problem

MAX_REDIRECTS = 3
TIMEOUT_SECONDS = 30.0

_ACCEPT = "application/json, application/yaml, application/vnd.oai.openapi, text/*;q=0.8, */*;q=0.5"
_LATER = frozenset({408, 425, 429})
"""Client errors that are temporary, so that a later attempt can succeed."""


_KEPT, _KEPT_BYTES, _TAG_LIMIT = 64, 1024 * 1024, 256
"""Documents that are kept for their entity tags, the size of each once it is packed, and that of its tag."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A document as it was fetched last."""

    tag: str
    """Its entity tag (RFC 9110 section 8.8.3)."""
    content: bytes
    """Packed by zlib."""


class _AccessDenied(Exception):
    """The server wants another credential than it was shown, or one at all; the text says so to people."""


class HttpSpecSource(SpecSource):
    """Fetches http and https URLs, without the proxies of the environment.

    `rules`: the addresses that may be fetched from. `resolve`: of a HostResolver; None: of its own, which asks DNS.
    `credentials`: the secrets of a SpecCredential.
    """

    def __init__(
        self,
        *,
        rules: OutboundRules = PUBLIC_ONLY,
        transport: httpx.AsyncBaseTransport | None = None,
        resolve: Resolve | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        max_bytes: int = MAX_BYTES,
        credentials: CredentialSource | None = None,
    ) -> None:
        self._credentials = credentials or InMemoryCredentialSource()
        self._rules = rules
        self._transport = transport
        self._resolve = resolve or HostResolver(DnsLookUp()).addresses
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._known = BoundedCache[str, _Known](_KEPT)

    async def fetch(
        self,
        location: str,
        *,
        root: str = "",  # noqa: ARG002  # no files here
        credential: SpecCredential | None = None,
    ) -> SpecDocument:
        url = _parsed(location)
        location = _without_query(location)  # from here on it only names the document, to people too
        try:
            async with asyncio.timeout(self._timeout_seconds), self._client() as client:
                addresses = await checked_addresses(url.host, location, resolve=self._resolve, rules=self._rules)
                try:
                    return await self._fetch(client, url, addresses, location, None)
                except _AccessDenied:
                    if credential is None:
                        raise
                return await self._fetch_as(credential, client, url, addresses, location)
        except _AccessDenied as refused:
            raise InvalidInput(str(refused)) from None
        except TimeoutError as error:
            raise Unavailable(f"{location}: no complete answer within {self._timeout_seconds:g} s") from error

    async def _fetch_as(
        self, credential: SpecCredential, client: httpx.AsyncClient, url: httpx.URL, addresses: list[str], location: str
    ) -> SpecDocument:
        """Fetches once more with another access token, where the server refuses the one that was kept."""
        sign = await sign_of(credential, str(url), self._credentials)
        try:
            return await self._fetch(client, url, addresses, location, sign)
        except _AccessDenied:
            if credential.access is None or not credential.access.refused(await credential.access.token()):
                raise
        sign = await sign_of(credential, str(url), self._credentials)
        return await self._fetch(client, url, addresses, location, sign)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=self._transport,
            verify=http_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=self._timeout_seconds,
        )

    async def _fetch(
        self, client: httpx.AsyncClient, url: httpx.URL, addresses: list[str], location: str, sign: Sign | None
    ) -> SpecDocument:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._first_answer(client, url, addresses, location, sign)
            if not isinstance(answer, httpx.URL):
                return await asyncio.to_thread(document, location, answer)
            url = answer
        raise InvalidInput(f"{location}: more than {MAX_REDIRECTS} redirects; give the final address")

    async def _first_answer(
        self, client: httpx.AsyncClient, url: httpx.URL, addresses: list[str], location: str, sign: Sign | None
    ) -> bytearray | httpx.URL:
        """The response of the first address that accepts the connection."""
        problem = "it has no address"
        for address in addresses:
            try:
                return await self._get(client, url, address, location, sign)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = connection_problem(error)
            except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
                raise translated(error, location) from error
        raise Unavailable(f"{location}: no connection to the host: {problem}")

    async def _get(
        self, client: httpx.AsyncClient, url: httpx.URL, address: str, location: str, sign: Sign | None
    ) -> bytearray | httpx.URL:
        # A document that a credential opened is not kept: another ToolSet may name the URL without one.
        known = self._known.get(str(url)) if sign is None else None
        headers, target = {"Host": url.netloc.decode("ascii"), "Accept": _ACCEPT}, url
        if known is not None:
            headers["If-None-Match"] = known.tag
        if sign is not None:
            target = httpx.URL(str(sign(headers, URL(str(url), encoded=True))))
        request = client.build_request(
            "GET", target.copy_with(host=address), headers=headers, extensions={"sni_hostname": url.host}
        )
        response = await client.send(request, stream=True)
        try:
            if response.has_redirect_location:
                return _redirected(url, response.headers["Location"], location)
            if response.status_code == 304 and known is not None:
                return bytearray(await asyncio.to_thread(zlib.decompress, known.content))
            if response.status_code != 200:
                raise _refused(response.status_code, location, is_signed=sign is not None)
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > self._max_bytes:
                    raise too_large(location, self._max_bytes)
            if sign is None:
                await self._keep(str(url), response.headers.get("ETag", ""), content)
            return content
        finally:
            await response.aclose()

    async def _keep(self, url: str, tag: str, content: bytearray) -> None:
        """Keep a document that its server can say to be unchanged; a refresh then costs it no second transfer."""
        if not 0 < len(tag) <= _TAG_LIMIT:
            return
        packed = await asyncio.to_thread(zlib.compress, content, 1)
        if len(packed) <= _KEPT_BYTES:
            self._known.put(url, _Known(tag, packed))


def _parsed(location: str) -> httpx.URL:
    try:
        url = httpx.URL(location)
    except httpx.InvalidURL:
        raise InvalidInput("The location of an API description is not a valid URL") from None
    if url.userinfo:
        raise InvalidInput(f"https://...@{url.host}: a URL with a user or password is not fetched; remove them")
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidInput(f"{_without_query(location)}: only http and https URLs with a host can be fetched")
    return url


def _without_query(location: str) -> str:
    """The location without its query, which may hold an API key."""
    return re.split(r"[?#]", location, maxsplit=1)[0]


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _redirected(url: httpx.URL, target: str, location: str) -> httpx.URL:
    """The target of a redirect, which must be the same host, over the same port or from http to https."""
    try:
        following = url.join(target)
    except httpx.InvalidURL:
        raise InvalidInput(f"{location}: redirects to something that is no URL") from None
    is_same_place = (following.scheme, _port(following)) == (url.scheme, _port(url))
    is_upgrade = (url.scheme, _port(url), following.scheme, _port(following)) == ("http", 80, "https", 443)
    if following.host != url.host or following.userinfo or not (is_same_place or is_upgrade):
        raise InvalidInput(f"{location}: redirects to another host, which is not followed; give the final address")
    return following


def _refused(status: int, location: str, *, is_signed: bool) -> StoaError | _AccessDenied:
    if status >= 500 or status in _LATER:
        return Unavailable(f"{location}: the server answered {status}")
    if status in {401, 403}:
        if is_signed:
            return _AccessDenied(f"{location}: the server answered {status} to the credential of the tools")
        return _AccessDenied(
            f"{location}: the server answered {status}; the credential of the tools is shown to it if they call the "
            "same server (toolDefaults.authentication)"
        )
    return InvalidInput(f"{location}: the server answered {status} instead of 200; check the address")


def translated(error: Exception, location: str) -> StoaError:
    tls = tls_problem(error)
    if tls is not None:
        return Unavailable(f"{location}: {tls}")
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(f"{location}: no answer in time")
    if isinstance(error, httpx.DecodingError | httpx.InvalidURL | httpx.UnsupportedProtocol):
        return InvalidInput(f"{location}: the answer cannot be read")
    return Unavailable(f"{location}: the connection failed before the whole document was there")
