"""Calls of queries and mutations: a request and its answer, on kept connections."""

import asyncio
import ssl

from stoa.application.ports import BackendCall, CallContext, Previewable
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.operation import Operation
from stoa.domain.results.response_headers import kept, kept_names
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.graphql.answers import is_unknown_document, result_of
from stoa.infrastructure.graphql.binding import GraphQlBinding
from stoa.infrastructure.graphql.request import GraphQlRequest, RequestPlan
from stoa.infrastructure.http_client.backend_answers import content_type, too_large, unpacked
from stoa.infrastructure.http_client.failures import HttpFailure, ResponseTooLong, after_another_request
from stoa.infrastructure.http_client.http1 import Http1Client, Response
from stoa.infrastructure.http_client.http1.pool import Origin, origin_of
from stoa.infrastructure.http_client.http1_errors import translated_failure
from stoa.infrastructure.http_client.tls_secrets import TlsContexts

QUICKLY_READ_BYTES = 256 * 1024
"""A longer answer is read in a thread, so that other calls do not wait."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTED = "The back end redirects this call, which is not followed; write the final address as endpoint."


class AuthorisedCall(Previewable):
    """Sends a request with the trace context and the credential of its call."""

    def __init__(self, tool: Operation, binding: GraphQlBinding, plan: RequestPlan, contexts: TlsContexts) -> None:
        self.name = str(tool.key)
        self._tenant = tool.tenant
        self._tls = binding.tls
        self._contexts = contexts
        self._authentication = tool.authentication.type
        self._is_read = binding.operation != "mutation"
        self._bounds = binding.stream
        self._timeout_seconds = tool.timeout_seconds
        self._plan = plan

    def preview(self, arguments: JsonObject) -> JsonObject:
        request = self._plan.build(arguments, "-", is_signed=False)
        return {
            "method": request.method,
            "url": str(request.url),
            "headers": request.headers,
            "body": None if request.data is None else request.data.decode("utf-8", "replace"),
            "authentication": self._authentication,
        }

    async def _sent(self, request: GraphQlRequest, context: CallContext) -> RawAnswer:
        if context.trace is not None:
            request.headers["traceparent"] = context.trace.traceparent
            if context.trace.state:
                request.headers["tracestate"] = context.trace.state
        if self._authentication != "oauth2":
            return await self._answer(request, context)
        access = context.upstream
        if access is None:
            raise BackendUnavailable(f"{self.name} needs an access token for its back end, and this call brought none")
        token = await access.token()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = await self._answer(request, context)
        if answer.status.startswith("401") and access.refused(token) and self._is_read:
            request.headers["Authorization"] = f"Bearer {await access.token()}"
            with after_another_request():
                answer = await self._answer(request, context)
        return answer

    def _tls_context(self) -> ssl.SSLContext:
        return self._contexts.of(self._tenant, self._tls)

    async def _answer(self, request: GraphQlRequest, context: CallContext) -> RawAnswer:
        raise NotImplementedError


class HttpCall(AuthorisedCall):
    """A request whose whole answer is read."""

    def __init__(
        self,
        tool: Operation,
        binding: GraphQlBinding,
        plan: RequestPlan,
        contexts: TlsContexts,
        client: Http1Client,
        max_answer_bytes: int,
    ) -> None:
        super().__init__(tool, binding, plan, contexts)
        self._client = client
        self._limit = max_answer_bytes
        self._last_origin = origin_of(plan.url)
        self._kept = kept_names(())

    async def _answer(self, request: GraphQlRequest, context: CallContext) -> RawAnswer:  # noqa: ARG002  # for streams
        target = request.url.raw_path_qs
        try:
            response = await self._client.request(
                self._origin(), request.method, target, request.headers, request.data, self._limit
            )
        except ResponseTooLong:
            raise too_large(self.name, self._limit) from None
        return await self._read(response, request)

    def _origin(self) -> Origin:
        """With the TLS context of now: its secrets may have changed."""
        tls = self._tls_context()
        if tls is not self._last_origin.tls:
            self._last_origin = self._last_origin._replace(tls=tls)
        return self._last_origin

    async def _read(self, response: Response, request: GraphQlRequest) -> RawAnswer:
        status = response.status_line
        headers = kept(self._kept, response.values, self._plan.secrets_in(request))
        if response.status in REDIRECTS:
            return RawAnswer(REDIRECTED.encode(), "text/plain", "utf-8", True, status, request.place, headers)
        body, encoding = response.body, response.header("Content-Encoding")
        if body and encoding:
            body = await unpacked(body, encoding, self.name, self._limit)
        media_type, charset = content_type(response.header("Content-Type") or "")
        is_error = not 200 <= response.status < 300
        return RawAnswer(body, media_type, charset, is_error, status, request.place, headers)


class GraphQlCall(HttpCall, BackendCall):
    async def __call__(self, arguments: JsonObject, context: CallContext) -> ToolResult:
        try:
            answer = await self._exchange(arguments, context)
        except HttpFailure as failure:
            problem = translated_failure(failure, self.name)
        else:
            if len(answer.body) > QUICKLY_READ_BYTES:
                return await asyncio.to_thread(result_of, answer, self.name)
            return result_of(answer, self.name)
        raise problem  # outside the handler: what the system says of a connection is for operators

    async def _exchange(self, arguments: JsonObject, context: CallContext) -> RawAnswer:
        answer = await self._sent(self._plan.build(arguments, context.request_id), context)
        # A server without such documents refuses a request without one, in words of its own. Of a mutation it might say
        # the same after it did something.
        is_refused = self._is_read and answer.status.startswith("400")
        if self._plan.is_resent_when_unknown and (is_refused or is_unknown_document(answer)):
            # The server only looked the document up, so nothing happens twice, not even of a mutation.
            with after_another_request():
                answer = await self._sent(self._plan.build(arguments, context.request_id, is_whole=True), context)
        return answer
