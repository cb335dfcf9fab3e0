"""AsyncAPI documents, versions 2 and 3: servers, and operations in one shape.

Version 3 says what the described application does (`receive`, `send`), version 2 what its clients do (`publish`,
`subscribe`); an Operation has the application's action.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_pointer import ABSENT, fragment_of, pointer_to, resolve, tokens_of_fragment
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object, objects_in
from stoa.infrastructure.documents import DocumentProblem, read_value
from stoa.infrastructure.kafka.binding import SaslMechanism, Security
from stoa.infrastructure.kafka.referenced_files import resolved_reference, taken_apart

MAX_OPERATIONS = 10_000
MAX_REFERENCES = 20
_VERSION = re.compile(r"[23]\.\d+(\.\d+)?([-+].*)?")
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_PROTOCOLS = {"kafka", "kafka-secure"}
_MECHANISMS: dict[str, SaslMechanism] = {
    "userPassword": "PLAIN",
    "plain": "PLAIN",
    "scramSha256": "SCRAM-SHA-256",
    "scramSha512": "SCRAM-SHA-512",
    "oauth2": "OAUTHBEARER",
    "openIdConnect": "OAUTHBEARER",
}
_HEADER_LOCATION = re.compile(r"\$message\.header#/([^/]+)")
_PAYLOAD_LOCATION = re.compile(r"\$message\.payload#(/.+)")

ApplicationAction = Literal["receive", "send"]


class Server(NamedTuple):
    name: str
    bootstrap_servers: tuple[str, ...]
    security: Security
    problem: str = ""
    """Why it cannot be used; empty if it can."""


class Message(NamedTuple):
    """One message of an operation, its traits applied."""

    name: str
    content: JsonObject
    pointer: tuple[str, ...] = ()


class Channel(NamedTuple):
    id: str
    topic: str
    """With parameters in braces; empty: it is not fixed."""
    parameters: Mapping[str, JsonObject]
    """JSON Schemas."""
    description: str
    servers: tuple[str, ...]
    """Names of the servers that have it; empty: all."""
    tags: tuple[str, ...]


class Answer(NamedTuple):
    """The reply of a request (AsyncAPI 3)."""

    channel: Channel
    messages: tuple[Message, ...]
    topic_header: str
    """The header that carries the reply's topic; empty: none."""


class Operation(NamedTuple):
    id: str
    action: ApplicationAction
    channel: Channel
    messages: tuple[Message, ...]
    description: str
    tags: tuple[str, ...]
    is_deprecated: bool
    answer: Answer | None = None


class Skipped(NamedTuple):
    """An operation that cannot be read, and why."""

    id: str
    reason: str


class AsyncApiDocument:
    """Follows references within the document, and into files that came with it."""

    def __init__(self, text: str, location: str) -> None:
        """Raises InvalidInput, naming location and line."""
        text, self.files = taken_apart(text)
        self._contents: dict[str, Any] = {}
        try:
            content = read_value(text)
        except DocumentProblem as problem:
            raise InvalidInput(f"{location}: {problem}") from None
        version = as_text(as_object(content).get("asyncapi"))
        if not is_object(content) or not version:
            raise InvalidInput(f"{location}: line 1: is no AsyncAPI document; it begins with asyncapi: 3.0.0")
        if not _VERSION.fullmatch(version):
            raise InvalidInput(f"{location}: line 1: is AsyncAPI {version[:20]}; versions 2 and 3 are read")
        self.root: JsonObject = content
        self.is_v3 = version.startswith("3")

    @property
    def title(self) -> str:
        return as_text(as_object(self.root.get("info")).get("title"))

    @property
    def version(self) -> str | None:
        return as_text(as_object(self.root.get("info")).get("version")) or None

    @property
    def default_content_type(self) -> str:
        return as_text(self.root.get("defaultContentType"))

    def resolved(self, value: Any) -> JsonObject:
        """The object, or what its references lead to; empty where that is not in the document."""
        for _ in range(MAX_REFERENCES):
            if not is_object(value):
                return {}
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            value = self.target(reference)
        return {}

    def target(self, reference: str) -> Any:
        """What a reference leads to, in the document or a file that came with it; None for any other."""
        base, _, fragment = reference.partition("#")
        found = resolve(self._content(base) if base else self.root, tokens_of_fragment(fragment))
        return None if found is ABSENT else found

    def _content(self, base: str) -> Any:
        """A file that was fetched with the document, its references as those of the document; None: there is none."""
        name = resolved_reference("", base)
        if name not in self._contents:
            try:
                self._contents[name] = _as_of_document(read_value(self.files.get(name, "")), name)
            except DocumentProblem:
                self._contents[name] = None
        return self._contents[name]

    def servers(self) -> Iterator[Server]:
        """Those of Kafka."""
        for name, given in as_object(self.root.get("servers")).items():
            server = self.resolved(given)
            if as_text(server.get("protocol")).lower() in _PROTOCOLS:
                yield self._server(name, server)

    def operations(self) -> Iterator[Operation | Skipped]:
        found = self._operations_v3() if self.is_v3 else self._operations_v2()
        for number, operation in enumerate(found):
            if number >= MAX_OPERATIONS:
                raise InvalidInput(f"the document has more than {MAX_OPERATIONS} operations")
            yield operation

    def _server(self, name: str, server: JsonObject) -> Server:
        host = (
            as_text(server.get("host")) or as_text(server.get("url")).partition("://")[2] or as_text(server.get("url"))
        )
        variables = as_object(server.get("variables"))
        host = _VARIABLE.sub(lambda match: _variable(self.resolved(variables.get(match[1])), match[0]), host)
        addresses = tuple(_with_port(part.strip()) for part in host.split("/")[0].split(",") if part.strip())
        security, problem = self._security(server)
        return Server(name, addresses, security, problem)

    def _security(self, server: JsonObject) -> tuple[Security, str]:
        is_tls = as_text(server.get("protocol")).lower() == "kafka-secure"
        schemes = [self.resolved(given) for given in as_array(server.get("security"))]
        if not self.is_v3:
            named = as_object(as_object(self.root.get("components")).get("securitySchemes"))
            alternatives = [as_object(given) for given in as_array(server.get("security"))]
            schemes = [self.resolved(named.get(key)) for given in alternatives for key in given]
        kinds = [as_text(scheme.get("type")) for scheme in schemes]
        mechanism: SaslMechanism | None = next((_MECHANISMS[kind] for kind in kinds if kind in _MECHANISMS), None)
        if mechanism is None:
            unknown = next((kind for kind in kinds if kind not in {"X509", ""}), None)
            problem = f"it wants {unknown}, which is not offered" if unknown else ""
            return Security(protocol="SSL" if is_tls or "X509" in kinds else "PLAINTEXT"), problem
        said = {as_text(scheme.get("x-security.protocol")) for scheme in schemes}
        protocol: Literal["SASL_SSL", "SASL_PLAINTEXT"] = (
            "SASL_SSL" if is_tls or "SASL_SSL" in said else "SASL_PLAINTEXT"
        )
        return Security(protocol=protocol, mechanism=mechanism), ""

    def _operations_v3(self) -> Iterator[Operation | Skipped]:
        for name, given in as_object(self.root.get("operations")).items():
            operation = self._with_traits(self.resolved(given))
            action = operation.get("action")
            channel = self._channel_v3(operation.get("channel"))
            if channel is None or action not in {"receive", "send"}:
                yield Skipped(name, "it has no action or no channel")
                continue
            reply = self.resolved(operation.get("reply"))
            yield Operation(
                name,
                "receive" if action == "receive" else "send",
                channel,
                self._messages_v3(operation, operation.get("channel")),
                _description(operation),
                _tags(operation, channel),
                bool(operation.get("deprecated")),
                self._answer(reply) if reply else None,
            )

    def _answer(self, reply: JsonObject) -> Answer | None:
        channel = self._channel_v3(reply.get("channel"))
        if channel is None:
            return None
        location = as_text(self.resolved(reply.get("address")).get("location"))
        return Answer(channel, self._messages_v3(reply, reply.get("channel")), header_at(location))

    def _channel_v3(self, given: Any) -> Channel | None:
        channel = self.resolved(given)
        if not channel:
            return None
        reference = as_text(as_object(given).get("$ref"))
        name = tokens_of_fragment(reference)[-1] if "/" in reference else as_text(channel.get("address"))
        parameters = {
            key: _parameter_v3(self.resolved(value)) for key, value in as_object(channel.get("parameters")).items()
        }
        servers = [as_text(as_object(server).get("$ref")) for server in as_array(channel.get("servers"))]
        return Channel(
            name,
            _topic(channel, as_text(channel.get("address"))),
            parameters,
            _description(channel),
            tuple(tokens_of_fragment(server)[-1] for server in servers if "/" in server),
            _names(channel),
        )

    def _messages_v3(self, owner: JsonObject, channel: Any) -> tuple[Message, ...]:
        """Those that the operation names, or else all of its channel."""
        named = as_array(owner.get("messages"))
        if named:
            return tuple(self._message(self._key_of(each), each) for each in named)
        every = as_object(self.resolved(channel).get("messages"))
        return tuple(self._message(key, each) for key, each in every.items())

    def _key_of(self, given: Any) -> str:
        reference = as_text(as_object(given).get("$ref"))
        return tokens_of_fragment(reference)[-1] if "/" in reference else ""

    def _operations_v2(self) -> Iterator[Operation | Skipped]:
        for topic, given in as_object(self.root.get("channels")).items():
            item = self.resolved(given)
            parameters = {
                key: as_object(self.resolved(value).get("schema")) | _described(self.resolved(value))
                for key, value in as_object(item.get("parameters")).items()
            }
            servers = tuple(as_text(name) for name in as_array(item.get("servers")))
            channel = Channel(topic, _topic(item, topic), parameters, _description(item), servers, ())
            actions: tuple[tuple[str, ApplicationAction], ...] = (("publish", "receive"), ("subscribe", "send"))
            for client_action, action in actions:
                operation = self._with_traits(self.resolved(item.get(client_action)))
                if not operation:
                    continue
                message = self.resolved(operation.get("message"))
                alternatives = as_array(message.get("oneOf")) or ([operation.get("message")] if message else [])
                yield Operation(
                    as_text(operation.get("operationId")) or f"{client_action} {topic}",
                    action,
                    channel,
                    tuple(self._message(self._key_of(each), each) for each in alternatives),
                    _description(operation),
                    _tags(operation, channel),
                    bool(operation.get("deprecated")),
                )

    def _message(self, key: str, given: Any) -> Message:
        content = self._with_traits(self.resolved(given))
        return Message(as_text(content.get("name")) or as_text(content.get("messageId")) or key, content)

    def _with_traits(self, value: JsonObject) -> JsonObject:
        """With its traits merged in. What it says itself counts, as in version 3 (in version 2 the trait would)."""
        merged: Any = {key: part for key, part in value.items() if key != "traits"}
        for trait in as_array(value.get("traits")):
            part = self.resolved(trait[0] if isinstance(trait, list) and trait else trait)
            merged = _merged(part, merged)
        return as_object(merged)


def _as_of_document(content: Any, name: str) -> Any:
    for part in objects_in(content):
        reference = part.get("$ref")
        if isinstance(reference, str):
            base, mark, fragment = reference.partition("#")
            part["$ref"] = f"{resolved_reference(name, base) if base else name}{mark}{fragment}"
    return content


def header_at(location: str) -> str:
    """The header that a runtime expression names; empty for any other place."""
    read = _HEADER_LOCATION.fullmatch(location)
    return tokens_of_fragment(f"/{read[1]}")[0] if read else ""


def payload_pointer_at(location: str) -> str:
    """The JSON Pointer within the payload that a runtime expression names; empty for any other place."""
    read = _PAYLOAD_LOCATION.fullmatch(location)
    return pointer_to(tokens_of_fragment(read[1])) if read else ""


def pointer_of(*tokens: str) -> str:
    """The place of a part of the document, for findings."""
    return f"#{fragment_of(tokens)}"


def _merged(patch: Any, value: Any) -> Any:
    """`value` with what only `patch` has (RFC 7396, the other way round)."""
    if not is_object(patch) or not is_object(value):
        return value
    return {**patch, **{key: _merged(patch[key], part) if key in patch else part for key, part in value.items()}}


def _topic(channel: JsonObject, address: str) -> str:
    return as_text(as_object(as_object(channel.get("bindings")).get("kafka")).get("topic")) or address


def _parameter_v3(parameter: JsonObject) -> JsonObject:
    kept: JsonObject = {
        key: value for key, value in parameter.items() if key in {"enum", "default", "description", "examples"}
    }
    return {"type": "string", **kept}


def _variable(variable: JsonObject, written: str) -> str:
    default = variable.get("default", next(iter(as_array(variable.get("enum"))), None))
    return default if isinstance(default, str) else written


def _with_port(address: str) -> str:
    return address if re.search(r":\d+$", address) else f"{address}:9092"


def _description(value: JsonObject) -> str:
    parts = (as_text(value.get("summary")).strip(), as_text(value.get("description")).strip())
    return "\n\n".join(part for part in dict.fromkeys(parts) if part) or as_text(value.get("title")).strip()


def _described(value: JsonObject) -> JsonObject:
    text = as_text(value.get("description")).strip()
    return {"description": text} if text else {}


def _names(value: JsonObject) -> tuple[str, ...]:
    return tuple(name for tag in as_array(value.get("tags")) if (name := as_text(as_object(tag).get("name"))))


def _tags(operation: JsonObject, channel: Channel) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*_names(operation), *channel.tags)))
