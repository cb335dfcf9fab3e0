"""The GraphQL back end. Its calls are in `calls` and `subscriptions`."""

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
from stoa.infrastructure.graphql.subscriptions import EventStreamCall, WebSocketCall
from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules
from stoa.infrastructure.http_client.backend_session import MAX_ANSWER_BYTES, BackendSession
from stoa.infrastructure.http_client.tls_secrets import TlsContexts
from stoa.infrastructure.http_client.websockets import WebSockets


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
        self._websockets = WebSockets(rules, resolver)
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
            return WebSocketCall(tool, binding, plan, self._contexts, self._websockets)
        kind = EventStreamCall if binding.operation == "subscription" else GraphQlCall
        return kind(tool, binding, plan, self._contexts, self._session, self._max_answer_bytes)

    async def close(self) -> None:
        await self._session.close()
        await self._websockets.close()
