"""The REST back end: sends what a RequestPlan built and reads the answer, on one aiohttp session with keep-alive.

Above: InvokeOperation, which holds the deadline. Below: request_plan (what to send) and errors (what went wrong).
Cookies are not kept, proxies of the environment are not used, redirects are followed only below the base URL.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version

import aiohttp
from yarl import URL

from stoa.application.ports import BackendCall, CallContext, CredentialSource, Previewable, ToolBackend
from stoa.domain.errors import BackendProtocolError, BackendUnavailable, InvalidInput
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import RestBinding
from stoa.domain.results.response_headers import Headers, kept, kept_names
from stoa.domain.results.result import RawAnswer
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules
from stoa.infrastructure.http_client.client import open_session
from stoa.infrastructure.rest.compression import ACCEPTED, CorruptEncoding, TooLarge, unpack
from stoa.infrastructure.rest.errors import TRANSLATED, translated
from stoa.infrastructure.rest.request_plan import RequestPlan, RestRequest, is_below

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
"""Of one header line of an answer; aiohttp's 8 KiB is less than some content security policies."""
CONNECT_TIMEOUT_SECONDS = 10.0
MAX_REDIRECTS = 5

_USER_AGENT = f"stoa-mcp-gateway/{version('stoa-mcp-gateway')}"
_QUICKLY_UNPACKED_BYTES = 64 * 1024
"""More is unpacked in a thread, so that other calls do not wait."""
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_FOLLOWED = (
    b"The back end redirects this call; the redirect was not followed, because only GET and HEAD are repeated, "
    b"and only below the tool's own base URL."
)

SessionFactory = Callable[[], aiohttp.ClientSession]


class RestBackend(ToolBackend):
    """Calls HTTP APIs. One session, so one pool of connections, for all tools. `rules`: which addresses may be called;
    an embedding program that registers its own tools trusts them. `resolver`: shared with other connections; None: its
    own, which asks DNS."""

    kind = "rest"

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._credentials = credentials
        self._rules = rules
        self._resolver = resolver
        self._connect_timeout_seconds = connect_timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._session: aiohttp.ClientSession | None = None

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, RestBinding):
            raise InvalidInput(f"Tool {tool.key}: its binding is {tool.binding.kind}, not rest")
        plan = RequestPlan(tool, tool.binding, self._credentials)
        kind = _OAuthRestCall if tool.authentication.type == "oauth2" else _RestCall
        return kind(tool, plan, self._open_session, self._max_answer_bytes)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(
                self._rules,
                self._resolver,
                # Without a total: the deadline of the call is the pipeline's.
                aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_seconds),
                connections=0,
                headers={"User-Agent": _USER_AGENT, "Accept-Encoding": ACCEPTED},
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        return self._session


class _RestCall(BackendCall, Previewable):
    def __init__(self, tool: Operation, plan: RequestPlan, open_session: SessionFactory, limit: int) -> None:
        self._name = str(tool.key)
        self._authentication = tool.authentication.type
        self._plan = plan
        self._open_session = open_session
        self._limit = limit
        # a body that is not there would be declared as application/octet-stream
        self._kept = kept_names(tool.binding.response_headers if isinstance(tool.binding, RestBinding) else ())
        self._skipped_without_body = ("Content-Type",) if plan.method in {"POST", "PUT", "PATCH"} else None

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer:
        request = self._plan.build(arguments, context.request_id)
        if context.trace is not None and "traceparent" not in request.headers:  # an argument of the tool may set it
            request.headers["traceparent"] = context.trace.traceparent
            if context.trace.state:
                request.headers["tracestate"] = context.trace.state
        try:
            return await self._exchange(request, context)
        except TRANSLATED as error:
            problem = translated(error, self._name)
        raise problem  # outside the handler: what aiohttp says quotes URL and headers, and with them secrets

    def preview(self, arguments: JsonObject) -> JsonObject:
        request = self._plan.build(arguments, "-", is_signed=False)
        return {
            "method": self._plan.method,
            "url": str(request.url),
            "headers": request.headers,
            "body": None if request.data is None else request.data.decode("utf-8", "replace"),
            "authentication": self._authentication,
        }

    async def _exchange(self, request: RestRequest, context: CallContext) -> RawAnswer:  # noqa: ARG002  # for oauth2
        url, session = request.url, self._open_session()
        for _ in range(MAX_REDIRECTS + 1):
            async with session.request(
                self._plan.method,
                url,
                headers=request.headers,
                data=request.data,
                allow_redirects=False,
                auto_decompress=False,
                skip_auto_headers=self._skipped_without_body if request.data is None else None,
            ) as response:
                location = response.headers.get("Location") if response.status in _REDIRECTS else None
                if location is None:
                    return await self._read(response, request)
                target = self._redirect_target(url, location)
                if target is None:
                    status, headers = _status(response), self._headers(response, request)
                    return RawAnswer(_NOT_FOLLOWED, "text/plain", "utf-8", True, status, request.place, headers)
                url = target
        raise BackendProtocolError(f"The back end of {self._name} failed: more than {MAX_REDIRECTS} redirects")

    async def _read(self, response: aiohttp.ClientResponse, request: RestRequest) -> RawAnswer:
        content = response.content
        body = await content.readany()
        if not content.at_eof():
            body = await self._read_on(content, bytearray(body))
        if len(body) > self._limit:
            raise self._too_large()
        if body and (encoding := response.headers.get("Content-Encoding")):
            body = await self._unpacked(body, encoding)
        status = _status(response)
        is_error = not 200 <= response.status < 300
        media_type, charset = _content_type(response.headers.get("Content-Type", "")) if body else ("", "utf-8")
        headers: Headers = ()
        for name in self._kept:
            if name in response.headers:
                headers = self._headers(response, request)
                break
        return RawAnswer(body, media_type, charset, is_error, status, request.place, headers)

    def _headers(self, response: aiohttp.ClientResponse, request: RestRequest) -> Headers:
        return kept(self._kept, lambda name: response.headers.getall(name, []), self._plan.secrets_in(request))

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
            raise BackendProtocolError(f"The back end of {self._name} failed: its answer is wrongly encoded") from None

    def _too_large(self) -> BackendProtocolError:
        return BackendProtocolError(f"The back end of {self._name} answered more than {self._limit} bytes")

    def _redirect_target(self, url: URL, location: str) -> URL | None:
        """Where to go next; None when that is not below the tool's base URL or the call must not be repeated."""
        if self._plan.method not in {"GET", "HEAD"}:
            return None
        try:
            target = url.with_query(None).join(URL(location)).with_fragment(None)
            is_same_origin = target.origin() == self._plan.base.origin() and target.raw_user is None
        except ValueError:
            return None
        return target if is_same_origin and is_below(target.raw_path, self._plan.base.raw_path) else None


class _OAuthRestCall(_RestCall):
    """Shows the back end an access token that it gets with each call. A token that the back end refuses is renewed; the
    call is made once more where repeating it does no harm (RFC 9110 section 9.2.2), else its answer stands."""

    async def _exchange(self, request: RestRequest, context: CallContext) -> RawAnswer:
        access = context.upstream
        if access is None:
            raise BackendUnavailable(f"{self._name} needs an access token for its back end, and this call brought none")
        token = await access.token()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = await super()._exchange(request, context)
        if answer.status.startswith("401") and access.refused(token) and self._plan.method in _IDEMPOTENT:
            request.headers["Authorization"] = f"Bearer {await access.token()}"
            answer = await super()._exchange(request, context)
        return answer


def _status(response: aiohttp.ClientResponse) -> str:
    return f"{response.status} {response.reason}" if response.reason else str(response.status)


@lru_cache(maxsize=128)
def _content_type(header: str) -> tuple[str, str]:
    """Media type, lower case, and charset of a Content-Type header."""
    media_type, *parameters = header.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and (charset := value.strip().strip("\"'")):
            return media_type.strip().lower(), charset.lower()
    return media_type.strip().lower(), "utf-8"
