"""The binding of a tool to one topic of a Kafka cluster: produce, read, or request with a reply topic."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from stoa.domain.operations.access import Access, MethodProperties
from stoa.domain.operations.binding import Binding, HttpUrl, SecretReference, StreamBounds, TlsSecrets, origin_of
from stoa.domain.value import Strict

Action = Literal["produce", "read", "request"]
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
Format = Literal["json", "avro", "protobuf", "text", "bytes"]

_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_TOPIC = re.compile(r"(?:[A-Za-z0-9._-]|\{[A-Za-z0-9_-]{1,64}\})+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def _broker(text: str) -> str:
    read = _BROKER.fullmatch(text)
    if read is None or not 0 < int(read[2]) < 65536:
        raise ValueError("write HOST:PORT")
    return text


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text) or text in {".", ".."}:
        raise ValueError("a topic has letters, digits, '.', '_' and '-', and parameters in braces")
    return text


BrokerAddress = Annotated[str, StringConstraints(max_length=300), AfterValidator(_broker)]
"""`HOST:PORT`."""
TopicTemplate = Annotated[str, StringConstraints(min_length=1, max_length=249), AfterValidator(_topic)]
"""A topic's name, with `{parameter}` for what each call says."""
Pointer = Annotated[str, StringConstraints(pattern=r"^(/([^~/]|~[01])*)+$", max_length=500)]
"""A JSON Pointer (RFC 6901) to a member."""
HeaderName = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+$", max_length=128)]


class Security(TlsSecrets):
    """Kafka's `security.protocol` and `sasl.mechanism`; credentials are the tool's authentication."""

    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism = "PLAIN"

    @property
    def is_tls(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def is_sasl(self) -> bool:
        return self.protocol.startswith("SASL_")


class Registry(Strict):
    """A schema registry with Confluent's HTTP API."""

    url: HttpUrl
    secret: SecretReference | None = None
    """Basic authentication, entries `username` and `password`; None: none."""


class MessagePart(Strict):
    """How the key or the value of a record is written."""

    format: Format = "json"
    definition: str = ""
    """Avro: the schema as JSON. Protobuf: a google.protobuf.FileDescriptorSet in base64."""
    message_type: str = ""
    """Protobuf: the full name of the message."""
    schema_id: int | None = Field(default=None, ge=0, lt=2**31)
    """The schema's id in the registry. Records then begin with a zero byte and the id in four (Confluent's wire
    format); None: they do not."""


class Reply(Strict):
    """Where the answer to a request arrives, and how it is recognised."""

    topic: TopicTemplate
    correlation_header: HeaderName = "kafka_correlationId"
    """Carries a random id on the request; the reply must bear it in the same header, or in `reply_header`."""
    reply_header: HeaderName | None = None
    correlation_pointer: Pointer | None = None
    """The id's member of the request's value, instead of a header; the reply must bear it in the same member, or in
    `reply_pointer` or `reply_header`."""
    reply_pointer: Pointer | None = None
    topic_header: HeaderName | None = "kafka_replyTopic"
    """Tells the responder the topic to reply to; None: it knows."""
    value: MessagePart = MessagePart()


class KafkaBinding(Binding):
    """One action on one topic."""

    kind: Literal["kafka"] = "kafka"
    bootstrap_servers: tuple[BrokerAddress, ...] = Field(min_length=1, max_length=20)
    security: Security = Security()
    action: Action
    topic: TopicTemplate
    value: MessagePart = MessagePart()
    key: MessagePart = MessagePart(format="text")
    fixed_headers: tuple[tuple[HeaderName, str], ...] = ()
    """Headers that the description fixes, such as Spring's `__TypeId__`."""
    reply: Reply | None = None
    """For `request` only."""
    read: StreamBounds = StreamBounds()
    registry: Registry | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters in the topic's name, each once."""
        return tuple(dict.fromkeys(_PLACEHOLDER.findall(self.topic)))

    @property
    def method_properties(self) -> MethodProperties:
        """Reading commits nothing and joins no group, so it leaves no trace."""
        if self.action == "read":
            return MethodProperties(Access.READ, is_idempotent=True)
        return MethodProperties(Access.WRITE, is_idempotent=False)

    @property
    def origins(self) -> frozenset[str]:
        brokers = {f"kafka://{address.lower()}" for address in self.bootstrap_servers}
        return frozenset(brokers | ({origin_of(self.registry.url)} if self.registry else set()))

    @property
    def summary(self) -> str:
        return f"{self.action} {self.topic}"


def topic_of(template: str, parameters: dict[str, str]) -> str:
    """The name with its parameters filled in."""
    return _PLACEHOLDER.sub(lambda match: parameters[match[1]], template)


def parameters_of(template: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(template)))
