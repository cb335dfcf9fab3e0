"""`spec.kafka` of a Tool and of a ToolSet."""

from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

import pydantic_core
from pydantic import Field, model_validator

from stoa.application.ports import BindingManifest, SourceManifest
from stoa.application.ports.manifest_parts import ManifestModel, SecretRefManifest, StreamManifest, TlsManifest
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.binding import Binding, HttpUrl
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.kafka.binding import (
    Action,
    BrokerAddress,
    Format,
    HeaderName,
    KafkaBinding,
    MessagePart,
    Pointer,
    Registry,
    Reply,
    SaslMechanism,
    Security,
    SecurityProtocol,
    TopicTemplate,
    parameters_of,
)

MEMBER = "kafka"
_NO_SECURITY = Security()


class _SchemaRegistry(ManifestModel):
    url: HttpUrl
    secret_ref: SecretRefManifest | None = None

    def to_domain(self) -> Registry:
        return Registry(url=self.url, secret=self.secret_ref and self.secret_ref.to_domain())


class KafkaConnection(ManifestModel):
    """How the cluster is reached; the same in a Tool and in a ToolSet. Names are those of Kafka's clients."""

    security_protocol: SecurityProtocol | None = None
    sasl_mechanism: SaslMechanism | None = None
    tls: TlsManifest = TlsManifest()
    schema_registry: _SchemaRegistry | None = None
    read: StreamManifest = StreamManifest()

    def security(self, default: Security = _NO_SECURITY) -> Security:
        """`default`: where the manifest says nothing."""
        tls = self.tls.to_domain()
        return Security(
            protocol=self.security_protocol or default.protocol,
            mechanism=self.sasl_mechanism or default.mechanism,
            ca=tls.ca,
            client=tls.client,
        )

    def registry(self) -> Registry | None:
        return None if self.schema_registry is None else self.schema_registry.to_domain()


class _Part(ManifestModel):
    """Key or value of a record."""

    format: Format = "json"
    definition: Any = Field(default=None, alias="schema")
    """JSON: a JSON Schema. Avro: the schema, as JSON or as a text of it. Protobuf: a FileDescriptorSet in base64, as
    `protoc --include_imports --descriptor_set_out` writes it."""
    message_type: str = Field(default="", max_length=500)
    """Protobuf: the message's name; absent: the file's only one that no other of it has a field of, or the first."""
    schema_id: int | None = Field(default=None, ge=0, lt=2**31)

    def to_domain(self) -> MessagePart:
        """Raises InvalidInput."""
        if self.format == "protobuf":
            from stoa.infrastructure.kafka.codec import protobuf_module  # with fastavro, for Avro

            if not isinstance(self.definition, str):
                raise InvalidInput("schema: a google.protobuf.FileDescriptorSet in base64 is needed for protobuf")
            part: MessagePart = protobuf_module().protobuf_part(self.definition, self.message_type, self.schema_id)
            return part
        text = ""
        if self.format == "avro":
            given = self.definition
            text = given if isinstance(given, str) and given.lstrip()[:1] in '{["' else ""
            text = text or pydantic_core.to_json(given).decode()
        return MessagePart(format=self.format, definition=text, schema_id=self.schema_id)


class _Reply(ManifestModel):
    topic: TopicTemplate
    correlation_header: HeaderName = "kafka_correlationId"
    reply_header: HeaderName | None = None
    correlation_pointer: Pointer | None = None
    reply_pointer: Pointer | None = None
    topic_header: HeaderName | None = "kafka_replyTopic"
    value: _Part = _Part()

    def to_domain(self) -> Reply:
        return Reply(
            topic=self.topic,
            correlation_header=self.correlation_header,
            reply_header=self.reply_header,
            correlation_pointer=self.correlation_pointer,
            reply_pointer=self.reply_pointer,
            topic_header=self.topic_header,
            value=self.value.to_domain(),
        )


class KafkaManifest(BindingManifest, KafkaConnection):
    """`spec.kafka` of a Tool: one action on one topic."""

    member: ClassVar[str] = MEMBER
    bootstrap_servers: tuple[BrokerAddress, ...] = Field(min_length=1, max_length=20)
    action: Action
    topic: TopicTemplate
    value: _Part = _Part()
    key: _Part = _Part(format="text")
    headers: JsonObject | Literal[False] | None = None
    """JSON Schema of the headers; `false`: there are none."""
    reply: _Reply | None = None

    @model_validator(mode="after")
    def _has_its_reply(self) -> Self:
        if self.reply is None and self.action == "request":
            raise ValueError("reply: a request needs the topic that is replied to")
        if self.reply is not None and self.action != "request":
            raise ValueError("reply is for action request")
        if self.reply is not None and not {*parameters_of(self.reply.topic)} <= {*parameters_of(self.topic)}:
            raise ValueError("reply.topic: its parameters have to be in topic too")
        return self

    def input_schema(self) -> JsonObject:
        from stoa.infrastructure.kafka.converter import hand_written_arguments  # with fastavro, for Avro

        return hand_written_arguments(self)

    def to_binding(self, input_schema: JsonObject) -> Binding:
        if self.action != "read" and "value" not in (input_schema.get("properties") or {}):
            raise InvalidInput("spec.inputSchema: the content of the record is its property value")
        return KafkaBinding(
            bootstrap_servers=self.bootstrap_servers,
            security=self.security(),
            action=self.action,
            topic=self.topic,
            value=self.value.to_domain(),
            key=self.key.to_domain(),
            reply=self.reply and self.reply.to_domain(),
            read=self.read.to_domain(),
            registry=self.registry(),
        )


class KafkaSource(SourceManifest, KafkaConnection):
    """`spec.kafka` of a ToolSet: an AsyncAPI document, or without `url` and `inline` the topics of the cluster, with
    what the schema registry knows of them."""

    url: str | None = None
    inline: str | JsonObject | None = None
    bootstrap_servers: tuple[BrokerAddress, ...] = Field(default=(), max_length=20)
    """Replaces the servers of the document."""
    server: str | None = None
    """Of the document's servers; absent: the first of Kafka."""
    perspective: Literal["client", "application"] = "client"
    """An AsyncAPI document describes an application. `client`: what it receives is produced, what it sends is read.
    `application`: tools do what the application does."""
    reply_topic: TopicTemplate | None = None
    """Where replies to requests arrive; absent: as the document says."""
    topics: tuple[TopicTemplate, ...] = ()
    """Only these; absent: all but the cluster's own."""

    @model_validator(mode="after")
    def _has_one_description(self) -> Self:
        if self.url is not None and self.inline is not None:
            raise ValueError("set url or inline, or neither to ask the cluster for its topics")
        if self.url is None and self.inline is None and not self.bootstrap_servers:
            raise ValueError("set url, inline or bootstrapServers")
        return self

    @property
    def is_live(self) -> bool:
        """True if the cluster itself is asked for its topics."""
        return self.url is None and self.inline is None

    @property
    def address(self) -> str | None:
        if self.is_live:
            return f"kafka://{','.join(self.bootstrap_servers)}"
        if self.url is None or not self.bootstrap_servers:
            return self.url
        # Servers that the author names are part of it: when they change, calls go elsewhere on the author's word.
        return f"{self.url}#{','.join(self.bootstrap_servers)}"

    @property
    def is_remote(self) -> bool:
        return self.address is not None and bool(urlsplit(self.address).scheme)
