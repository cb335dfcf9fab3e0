"""The REST back end: sends what a RequestPlan built and reads the answer, on kept connections.

Above: InvokeOperation, which holds the deadline. Below: request_plan (what to send), `http_client.http1` (the
connections) and `http_client.http1_errors` (what went wrong). Redirects are followed only below the base URL.
"""

import asyncio
from dataclasses import replace
from time import monotonic

from yarl import URL

from stoa.application.ports import (
    BackendCall,
    CallContext,
    CredentialSource,
    Previewable,
    ReadingResources,
    ToolBackend,
)
from stoa.domain.errors import BackendError, BackendProtocolError, BackendUnavailable, InvalidInput
from stoa.domain.operations.binding import StreamBounds
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.domain.results.response_headers import Headers, kept, kept_names
from stoa.domain.results.result import RawAnswer
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules
from stoa.infrastructure.http_client.backend_answers import (
    CONNECT_TIMEOUT_SECONDS,
    HEADERS,
    MAX_ANSWER_BYTES,
    content_type,
    too_large,
    unpacked_or_too_large,
)
from stoa.infrastructure.http_client.compression import CorruptEncoding, TooLarge, unpack_start
from stoa.infrastructure.http_client.failures import HttpFailure, ResponseTooLong, after_another_request
from stoa.infrastructure.http_client.http1 import Http1Client, Response
from stoa.infrastructure.http_client.http1.response import StartOfResponse, text_of
from stoa.infrastructure.http_client.http1.stream import OpenResponse
from stoa.infrastructure.http_client.http1_errors import translated_failure
from stoa.infrastructure.rest.accepted_work import Pause, finished
from stoa.infrastructure.rest.body import files_in
from stoa.infrastructure.rest.file_resources import ReadResource, with_file_resources
from stoa.infrastructure.rest.request_plan import RequestPlan, RestRequest, is_below
from stoa.infrastructure.rest.streams import MARGIN, read_stream

MAX_REDIRECTS = 5

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SEE_OTHER = 303
_ACCEPTED = "202"
_ELSEWHERE = (
    b"The back end took the call, which must not be repeated; the answer is to be read at the URL in Location "
    b"(303 See Other), which was not followed."
)
_NOT_FOLLOWED = (
    b"The back end redirects this call; the redirect was not followed, because only GET and HEAD are repeated, "
    b"and only below the tool's own base URL."
)


class RestBackend(ToolBackend, ReadingResources):
    """Calls HTTP APIs. One client, so one pool of connections to each origin, for all tools. `rules`: which addresses
    may be called; an embedding program that registers its own tools trusts them. `resolver`: shared with other
    connections; None: its own, which asks DNS. `pause`: waits before the state of accepted work is asked for."""

    kind = "rest"

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._credentials = credentials
        self._client = Http1Client(rules, resolver, headers=HEADERS, connect_seconds=connect_timeout_seconds)
        self._max_answer_bytes = max_answer_bytes
        self._pause = pause
        self._read: ReadResource | None = None

    def read_with(self, read: ReadResource) -> None:
        self._read = read

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, RestBinding):
            raise InvalidInput(f"Tool {tool.key}: its binding is {tool.binding.kind}, not rest")
        plan = RequestPlan(tool, tool.binding, self._credentials)
        kind = _OAuthRestCall if tool.authentication.type == "oauth2" else _RestCall
        return kind(tool, plan, self._client, self._max_answer_bytes, self._read, self._pause)

    async def close(self) -> None:
        await self._client.close()


class _RestCall(BackendCall, Previewable):
    def __init__(
        self,
        tool: Operation,
        plan: RequestPlan,
        client: Http1Client,
        limit: int,
        read: ReadResource | None,
        pause: Pause,
    ) -> None:
        self._name = str(tool.key)
        self._authentication = tool.authentication.type
        self._plan = plan
        self._client = client
        self._limit = limit
        self._read_resource = read
        self._pause = pause
        self._timeout_seconds = tool.timeout_seconds
        self._stream = tool.answer.stream if isinstance(tool, Tool) else StreamBounds()
        self._files = files_in(tool.binding) if isinstance(tool.binding, RestBinding) else ()
        self._kept = kept_names(tool.binding.response_headers if isinstance(tool.binding, RestBinding) else ())
        self._kept_fields = frozenset(name.lower().encode("ascii") for name in self._kept)

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer:
        if self._files:
            arguments = await with_file_resources(self._files, arguments, context, self._read_resource)
        request = self._plan.build(arguments, context.request_id)
        if context.trace is not None and "traceparent" not in request.headers:  # an argument of the tool may set it
            request.headers["traceparent"] = context.trace.traceparent
            if context.trace.state:
                request.headers["tracestate"] = context.trace.state
        began = monotonic()
        try:
            answer = await self._exchange(request, context, began)
            if answer.status[:3] != _ACCEPTED or context.channel is None:
                return answer
            left = MARGIN * self._timeout_seconds - (monotonic() - began)
            with after_another_request():
                return await self._finished(answer, request, context, left)
        except HttpFailure as failure:
            if isinstance(failure, StartOfResponse) and failure.response is not None:
                with after_another_request():
                    return await self._start(failure.response, request)
            problem = self._translated(failure)
        raise problem  # outside the handler: what the system says of a connection is for operators

    def preview(self, arguments: JsonObject) -> JsonObject:
        request = self._plan.build(arguments, "-", is_signed=False)
        return {
            "method": self._plan.method,
            "url": str(request.url),
            "headers": request.headers,
            "body": None if request.data is None else request.data.decode("utf-8", "replace"),
            "authentication": self._authentication,
        }

    async def _exchange(self, request: RestRequest, context: CallContext, began: float) -> RawAnswer:
        """The answer to a request that was begun at `began`, by the monotonic clock."""
        target = request.target
        for hop in range(MAX_REDIRECTS + 1):
            try:
                response = await self._client.request(
                    self._plan.origin,
                    self._plan.method,
                    target,
                    request.headers,
                    request.data,
                    self._limit,
                    may_stream=True,
                )
            except HttpFailure as failure:
                failure.nothing_was_sent = failure.nothing_was_sent and hop == 0
                raise
            if isinstance(response, OpenResponse):
                left = MARGIN * self._timeout_seconds - (monotonic() - began)
                async with response:
                    return await read_stream(response, self._stream, left, context.channel, self._name)
            location = response.header("Location") if response.status in _REDIRECTS else None
            if location is None:
                body = await self._unpacked(response) if b"content-encoding" in response.fields else response.body
                return self._read(response, body, request)
            following = self._redirect_target(URL(request.base + target, encoded=True), location)
            if following is None and response.status == _SEE_OTHER and self._plan.method not in {"GET", "HEAD"}:
                status, headers = response.status_line, self._headers(response, request)
                return RawAnswer(_ELSEWHERE, "text/plain", "utf-8", True, status, request.place, headers)
            if following is None:
                status, headers = response.status_line, self._headers(response, request)
                return RawAnswer(_NOT_FOLLOWED, "text/plain", "utf-8", True, status, request.place, headers)
            target = following.raw_path_qs
        raise BackendProtocolError(f"The back end of {self._name} failed: more than {MAX_REDIRECTS} redirects")

    def _read(self, response: Response, body: bytes, request: RestRequest) -> RawAnswer:
        fields = response.fields
        media_type, charset = content_type(text_of(fields.get(b"content-type", b""))) if body else ("", "utf-8")
        headers = () if self._kept_fields.isdisjoint(fields) else self._headers(response, request)
        is_error = not 200 <= response.status < 300
        return RawAnswer(body, media_type, charset, is_error, response.status_line, request.place, headers)

    async def _unpacked(self, response: Response) -> bytes:
        """The body of a response that has a content coding, without it. Raises StartOfResponse."""
        if not response.body:
            return b""
        coding = text_of(response.fields[b"content-encoding"])
        try:
            return await unpacked_or_too_large(response.body, coding, self._name, self._limit)
        except TooLarge as caught:
            start = self._without_coding(response, caught.start)
            raise StartOfResponse(f"more than {self._limit} bytes", start) from None

    async def _start(self, response: Response, request: RestRequest) -> RawAnswer:
        """The start of an answer that is longer than the gateway takes."""
        if b"content-encoding" in response.fields:
            coding = text_of(response.fields[b"content-encoding"])
            try:
                body = await asyncio.to_thread(unpack_start, response.body, coding, self._limit)
            except CorruptEncoding:
                raise too_large(self._name, self._limit) from None
            response = self._without_coding(response, body)
        return replace(self._read(response, response.body, request), is_cut=True)

    @staticmethod
    def _without_coding(response: Response, body: bytes) -> Response:
        fields = {name: value for name, value in response.fields.items() if name != b"content-encoding"}
        plain = Response(response.status, response.reason, response.headers, fields)
        plain.body = body
        return plain

    async def _finished(
        self, accepted: RawAnswer, request: RestRequest, context: CallContext, seconds: float
    ) -> RawAnswer:
        """The answer of work that goes on."""

        def resolve(place: str, location: str) -> str | None:
            target = self._below_base(URL(request.base + place, encoded=True), location)
            return None if target is None else target.raw_path_qs

        async def ask(target: str) -> RawAnswer:
            following = self._plan.following(request, target)
            response = await self._client.request(
                self._plan.origin, "GET", following.target, following.headers, None, self._limit
            )
            body = await self._unpacked(response) if b"content-encoding" in response.fields else response.body
            return self._read(response, body, following)

        return await finished(accepted, request.target, context, resolve, ask, seconds, self._pause)

    def _headers(self, response: Response, request: RestRequest) -> Headers:
        return kept(self._kept, response.values, self._plan.secrets_in(request))

    def _translated(self, failure: HttpFailure) -> BackendError:
        if isinstance(failure, ResponseTooLong):
            return too_large(self._name, self._limit)
        return translated_failure(failure, self._name)

    def _redirect_target(self, url: URL, location: str) -> URL | None:
        """Where to go next; None when that is not below the tool's base URL or the call must not be repeated."""
        return self._below_base(url, location) if self._plan.method in {"GET", "HEAD"} else None

    def _below_base(self, url: URL, location: str) -> URL | None:
        """A URL that an answer named, if it is of the tool's origin and below its base path."""
        try:
            target = url.with_query(None).join(URL(location)).with_fragment(None)
            is_same_origin = target.origin() == self._plan.base.origin() and target.raw_user is None
        except ValueError:
            return None
        return target if is_same_origin and is_below(target.raw_path, self._plan.base.raw_path) else None


class _OAuthRestCall(_RestCall):
    """Shows the back end an access token that it gets with each call. A token that the back end refuses is renewed; the
    call is made once more where repeating it does no harm (RFC 9110 section 9.2.2), else its answer stands."""

    async def _exchange(self, request: RestRequest, context: CallContext, began: float) -> RawAnswer:
        access = context.upstream
        if access is None:
            raise BackendUnavailable(f"{self._name} needs an access token for its back end, and this call brought none")
        token = await access.token()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = await super()._exchange(request, context, began)
        if answer.status.startswith("401") and access.refused(token) and self._plan.method in _IDEMPOTENT:
            request.headers["Authorization"] = f"Bearer {await access.token()}"
            try:
                answer = await super()._exchange(request, context, began)
            except HttpFailure as failure:
                failure.nothing_was_sent = False  # the first request was
                raise
        return answer
