"""The GraphQL back end. Its calls are in `calls`, `subscriptions` and `websocket_calls`; the last is imported with the
first tool of its kind, because aiohttp takes memory and time that no other tool needs.
"""

from typing import Any

from stoa.application.ports import (
    BackendCall,
    BindingManifest,
    CredentialSource,
    NamedByManifests,
    ToolBackend,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.operation import Operation
from stoa.infrastructure.graphql.binding import GraphQlBinding
from stoa.infrastructure.graphql.calls import GraphQlCall
from stoa.infrastructure.graphql.manifest import GraphQlToolManifest
from stoa.infrastructure.graphql.request import RequestPlan
from stoa.infrastructure.graphql.subscriptions import EventStreamCall
from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules
from stoa.infrastructure.http_client.backend_answers import HEADERS, MAX_ANSWER_BYTES
from stoa.infrastructure.http_client.http1 import Http1Client
from stoa.infrastructure.http_client.tls_secrets import TlsContexts


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
        self._rules = rules
        self._resolver = resolver
        self._client = Http1Client(rules, resolver, headers=HEADERS)
        self._websockets: Any = None
        self._contexts = TlsContexts(credentials)
        self._max_answer_bytes = max_answer_bytes

    def manifest(self) -> type[BindingManifest]:
        return GraphQlToolManifest

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, GraphQlBinding):
            raise InvalidInput(f"Tool {tool.key}: its binding is {tool.binding.kind}, not graphql")
        binding = tool.binding
        plan = RequestPlan(tool, binding, self._credentials)
        if binding.operation == "subscription" and binding.subscription_protocol == "websocket":
            return self._websocket_call(tool, binding, plan)
        kind = EventStreamCall if binding.operation == "subscription" else GraphQlCall
        return kind(tool, binding, plan, self._contexts, self._client, self._max_answer_bytes)

    async def close(self) -> None:
        await self._client.close()
        if self._websockets is not None:
            await self._websockets.close()

    def _websocket_call(self, tool: Operation, binding: GraphQlBinding, plan: RequestPlan) -> BackendCall:
        try:
            from stoa.infrastructure.graphql.websocket_calls import WebSocketCall
            from stoa.infrastructure.http_client.websockets import WebSockets
        except ImportError:
            message = f"Tool {tool.key}: WebSockets need the extra graphql: pip install 'stoa-mcp-gateway[graphql]'"
            raise InvalidInput(message) from None
        if self._websockets is None:
            self._websockets = WebSockets(self._rules, self._resolver)
        return WebSocketCall(tool, binding, plan, self._contexts, self._websockets)
