"""The GraphQL back end: sends what a RequestPlan built and reads the answer, on one HTTP session with keep-alive."""

import asyncio

from stoa.application.ports import (
    BackendCall,
    BindingManifest,
    CallContext,
    CredentialSource,
    NamedByManifests,
    Previewable,
    ToolBackend,
)
from stoa.domain.errors import BackendUnavailable, InvalidInput
from stoa.domain.operations.operation import Operation
from stoa.domain.results.response_headers import kept, kept_names
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.graphql.answers import is_unknown_document, result_of
from stoa.infrastructure.graphql.binding import GraphQlBinding
from stoa.infrastructure.graphql.manifest import GraphQlToolManifest
from stoa.infrastructure.graphql.request import GraphQlRequest, RequestPlan
from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules
from stoa.infrastructure.http_client.backend_errors import TRANSLATED, translated
from stoa.infrastructure.http_client.backend_session import (
    MAX_ANSWER_BYTES,
    BackendSession,
    BodyReader,
    content_type,
    status_of,
)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_QUICKLY_READ_BYTES = 256 * 1024
"""A longer answer is read in a thread, so that other calls do not wait."""


class GraphQlBackend(ToolBackend, NamedByManifests):
    """Calls GraphQL services. `rules`: which addresses may be called."""

    kind = "graphql"

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._credentials = credentials
        self._session = BackendSession(rules, resolver)
        self._max_answer_bytes = max_answer_bytes

    def manifest(self) -> type[BindingManifest]:
        return GraphQlToolManifest

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, GraphQlBinding):
            raise InvalidInput(f"Tool {tool.key}: its binding is {tool.binding.kind}, not graphql")
        plan = RequestPlan(tool, tool.binding, self._credentials)
        return GraphQlCall(tool, plan, self._session, self._max_answer_bytes)

    async def close(self) -> None:
        await self._session.close()


class GraphQlCall(BackendCall, Previewable):
    def __init__(self, tool: Operation, plan: RequestPlan, session: BackendSession, max_answer_bytes: int) -> None:
        self._name = str(tool.key)
        self._authentication = tool.authentication.type
        self._is_query = isinstance(tool.binding, GraphQlBinding) and tool.binding.operation == "query"
        self._plan = plan
        self._session = session
        self._body = BodyReader(self._name, max_answer_bytes)
        self._kept = kept_names(())

    async def __call__(self, arguments: JsonObject, context: CallContext) -> ToolResult:
        try:
            answer = await self._exchange(arguments, context)
        except TRANSLATED as error:
            problem = translated(error, self._name)
        else:
            if len(answer.body) > _QUICKLY_READ_BYTES:
                return await asyncio.to_thread(result_of, answer, self._name)
            return result_of(answer, self._name)
        raise problem  # outside the handler: what aiohttp says quotes URL and headers, and with them secrets

    def preview(self, arguments: JsonObject) -> JsonObject:
        request = self._plan.build(arguments, "-", is_signed=False)
        return {
            "method": request.method,
            "url": str(request.url),
            "headers": request.headers,
            "body": None if request.data is None else request.data.decode("utf-8", "replace"),
            "authentication": self._authentication,
        }

    async def _exchange(self, arguments: JsonObject, context: CallContext) -> RawAnswer:
        answer = await self._sent(self._plan.build(arguments, context.request_id), context)
        if self._plan.is_resent_when_unknown and is_unknown_document(answer):
            # The server only looked the document up, so nothing happens twice, not even of a mutation.
            answer = await self._sent(self._plan.build(arguments, context.request_id, is_whole=True), context)
        return answer

    async def _sent(self, request: GraphQlRequest, context: CallContext) -> RawAnswer:
        if context.trace is not None:
            request.headers["traceparent"] = context.trace.traceparent
            if context.trace.state:
                request.headers["tracestate"] = context.trace.state
        if self._authentication != "oauth2":
            return await self._answer(request)
        access = context.upstream
        if access is None:
            raise BackendUnavailable(f"{self._name} needs an access token for its back end, and this call brought none")
        token = await access.token()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = await self._answer(request)
        if answer.status.startswith("401") and access.refused(token) and self._is_query:
            request.headers["Authorization"] = f"Bearer {await access.token()}"
            answer = await self._answer(request)
        return answer

    async def _answer(self, request: GraphQlRequest) -> RawAnswer:
        async with self._session.open().request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.data,
            allow_redirects=False,
            auto_decompress=False,
        ) as response:
            status = status_of(response)
            headers = kept(self._kept, lambda name: response.headers.getall(name, []), self._plan.secrets_in(request))
            if response.status in _REDIRECTS:
                text = b"The back end redirects this call, which is not followed; write the final address as endpoint."
                return RawAnswer(text, "text/plain", "utf-8", True, status, request.place, headers)
            body = await self._body.read(response)
            media_type, charset = content_type(response.headers.get("Content-Type", ""))
            is_error = not 200 <= response.status < 300
            return RawAnswer(body, media_type, charset, is_error, status, request.place, headers)
