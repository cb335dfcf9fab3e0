"""What a GraphQL tool calls: one operation at one endpoint, as data."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from stoa.domain.operations.access import Access, MethodProperties
from stoa.domain.operations.binding import Binding, HttpUrl, StreamBounds, TlsSecrets, origin_of
from stoa.domain.value import Strict

OperationType = Literal["query", "mutation", "subscription"]
PersistedDocuments = Literal["none", "automatic", "trusted"]
"""`automatic`: the document's SHA-256 first, the document itself where the server does not know it (APQ). `trusted`:
the server knows the document, and only its id is sent (GraphQL over HTTP, "Persisted Documents")."""
HttpMethod = Literal["POST", "GET"]
SubscriptionProtocol = Literal["websocket", "sse"]
"""`websocket`: graphql-transport-ws. `sse`: GraphQL over Server-Sent Events, distinct connections mode."""


def _over_http(url: Any) -> Any:
    """A WebSocket begins as an HTTP request to the same host and port (RFC 6455 section 4.1)."""
    return f"http{url[2:]}" if isinstance(url, str) and url.startswith(("ws://", "wss://")) else url


SubscriptionUrl = Annotated[HttpUrl, BeforeValidator(_over_http)]
"""An http(s) or ws(s) URL, kept as http(s)."""


class SelectableField(Strict):
    """One field that a caller's selection may name."""

    type: str | None = None
    """The type whose fields are selected below; None: a leaf."""
    is_list: bool = False
    arguments: dict[str, str] = Field(default={})
    """Arguments that a selection may give, with their types (`Int!`, `[ID!]`): those of built-in scalars."""


class SelectableType(Strict):
    """An output type of the schema, as far as callers may select from it."""

    fields: dict[str, SelectableField] = Field(default={})
    possible_types: tuple[str, ...] = ()
    """Types that an inline fragment may name here: those that implement an interface, or the members of a union."""


class Selectable(Strict):
    """The part of the schema below one field that a caller may select from. It travels with the binding, so that a
    selection is checked without the schema."""

    root: str
    types: dict[str, SelectableType]


class GraphQlBinding(Binding):
    """One operation of a GraphQL service (GraphQL over HTTP, 2025)."""

    kind: Literal["graphql"] = "graphql"
    endpoint: HttpUrl
    operation: OperationType
    operation_name: str | None = None
    document: str
    """The operation with its fragments. Values never stand in it: arguments of the tool are variables of the same
    names."""
    document_id: str | None = None
    """For `trusted`; None: `sha256:` and the hex digest of the document."""
    method: HttpMethod = "POST"
    persisted: PersistedDocuments = "none"
    fields_argument: str | None = Field(default=None, max_length=64)
    """The argument that replaces the selection of a generated operation; None: there is none."""
    selection: str = ""
    """The selection set that `fields_argument` replaces, with which `document` ends but for the closing brace."""
    selectable: Selectable | None = None
    subscription_protocol: SubscriptionProtocol = "websocket"
    stream: StreamBounds = StreamBounds()
    """Where reading a subscription ends."""
    tls: TlsSecrets = TlsSecrets()

    @property
    def method_properties(self) -> MethodProperties:
        """A mutation has side effects, a query and a subscription have none (GraphQL, section 6.2)."""
        if self.operation == "mutation":
            return MethodProperties(Access.WRITE)
        return MethodProperties(Access.READ, is_idempotent=True)

    @property
    def origins(self) -> frozenset[str]:
        return frozenset({origin_of(self.endpoint)})

    @property
    def summary(self) -> str:
        """Operation and path, as the back end sees them."""
        return f"{self.operation} {self.operation_name or ''} {urlsplit(self.endpoint).path}".replace("  ", " ")
