"""The members of manifests that name GraphQL: `spec.graphQL` of a Tool and of a ToolSet."""

from typing import ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from stoa.application.ports.manifest_parts import (
    BindingManifest,
    ManifestModel,
    SourceManifest,
    StreamManifest,
    TlsManifest,
    requires,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.binding import HttpUrl
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.graphql.binding import (
    GraphQlBinding,
    HttpMethod,
    PersistedDocuments,
    SubscriptionProtocol,
    SubscriptionUrl,
)
from stoa.infrastructure.graphql.written_document import operation_of, variables_schema

MEMBER = "graphQL"


class GraphQlRequests(ManifestModel):
    """How operations are sent; the same in a Tool and in a ToolSet."""

    method: HttpMethod = "POST"
    """GET: queries are sent so; mutations never are."""
    persisted_documents: PersistedDocuments = "none"
    subscription_protocol: SubscriptionProtocol = "websocket"
    stream: StreamManifest = StreamManifest()
    """Where reading a subscription ends."""
    tls: TlsManifest = TlsManifest()


class GraphQlToolManifest(BindingManifest, GraphQlRequests):
    """One operation, written by hand: it is not checked against a schema."""

    member: ClassVar[str] = MEMBER
    endpoint: SubscriptionUrl
    document: str
    operation_name: str | None = None
    """Needed where the document holds several operations."""
    document_id: str | None = None

    def input_schema(self) -> JsonObject:
        """The variables of the operation; those of the service's own types accept anything."""
        return variables_schema(operation_of(self.document, self.operation_name))

    def to_binding(self, input_schema: JsonObject) -> GraphQlBinding:  # noqa: ARG002  # arguments are variables
        operation = operation_of(self.document, self.operation_name)
        if operation.type != "query" and self.method == "GET":
            raise InvalidInput("spec.graphQL.method: only a query is sent by GET (GraphQL over HTTP, section 5.3)")
        return GraphQlBinding(
            endpoint=self.endpoint,
            operation=operation.type,
            operation_name=operation.name,
            document=self.document,
            document_id=self.document_id,
            method=self.method,
            persisted=self.persisted_documents,
            subscription_protocol=self.subscription_protocol,
            stream=self.stream.to_domain(),
            tls=self.tls.to_domain(),
        )


class GraphQlSource(SourceManifest, GraphQlRequests):
    """A GraphQL service: its schema from `url` (a file or URL of SDL or introspection JSON), from `inline`, or from the
    service itself by introspection at `endpoint`."""

    model_config = ConfigDict(
        json_schema_extra={"not": {"required": ["url", "inline"]}, "anyOf": requires("url", "inline", "endpoint")}
    )

    url: str | None = None
    inline: str | JsonObject | None = None
    endpoint: HttpUrl | None = None
    """Where operations are sent; `spec.baseURL` replaces it."""
    operations: tuple[str, ...] = ()
    """Operation documents whose operations are tools: paths or URLs of `.graphql` files, or the documents."""
    queries: bool | tuple[str, ...] | None = None
    """Query fields that tools are generated for: all, none, or those named. Absent: all, if no operations are given."""
    mutations: bool | tuple[str, ...] = False
    """Mutation fields that tools are generated for."""
    subscriptions: bool | tuple[str, ...] = False
    """Subscription fields that tools are generated for."""
    subscription_endpoint: SubscriptionUrl | None = None
    """Where subscriptions are sent, if not to `endpoint`."""
    fields_argument: bool = True
    """Generated tools take a selection that the caller writes."""
    document_ids: dict[str, str] = Field(default={})
    """For `trusted`: the id of an operation's document by the operation's name."""

    @model_validator(mode="after")
    def _has_one_schema(self) -> Self:
        if self.url is not None and self.inline is not None:
            raise ValueError("set url or inline, or neither to ask the endpoint for its schema")
        if self.url is None and self.inline is None and self.endpoint is None:
            raise ValueError("set url, inline or endpoint")
        return self

    @property
    def address(self) -> str | None:
        if self.inline is not None:
            return None
        return self.endpoint if self.url is None else self.url

    @property
    def called_at(self) -> str | None:
        return self.endpoint
