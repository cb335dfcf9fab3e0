"""Operations of a description as drafts: what a tool does, with the schemas of its parts, before it has its name."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pydantic_core
from pydantic import ValidationError

from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, error, warning
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object
from stoa.infrastructure.kafka.asyncapi import (
    MAX_REFERENCES,
    AsyncApiDocument,
    Channel,
    Message,
    Operation,
    Server,
    Skipped,
    header_at,
    payload_pointer_at,
)
from stoa.infrastructure.kafka.binding import Action, MessagePart, Reply, parameters_of
from stoa.infrastructure.kafka.codec import protobuf_module, schema_of
from stoa.infrastructure.kafka.correlation import NoSuchMember, without_member
from stoa.infrastructure.kafka.json_schemas import CannotDescribe, SchemaWriter
from stoa.infrastructure.kafka.manifest import KafkaSource
from stoa.infrastructure.kafka.referenced_files import descriptors_in, resolved_reference, source_name, with_files
from stoa.infrastructure.kafka.tool_schemas import (
    ANY_HEADERS,
    PARAMETER_PATTERN,
    PartSchema,
    any_of,
    only_value,
    usable_parameter,
    without_headers,
)

_JSON_TYPES = ("application/json", "")
_PROTO_FILES = (".proto", ".binpb", ".protoset", ".pb", ".desc", ".fds")


class CannotConvert(ValueError):
    """An operation that is left out; the text says why."""


@dataclass(frozen=True)
class Part:
    """One key or value: how it is written, and its schema."""

    format: MessagePart
    schema: PartSchema


@dataclass(frozen=True)
class Draft:
    """A tool before it has its name."""

    action: Action
    id: str
    channel: str
    topic: str
    title: str
    description: str
    value: Part
    key: Part
    headers: JsonObject | None
    parameters: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    suffix: str = ""
    tags: tuple[str, ...] = ()
    fixed_headers: tuple[tuple[str, str], ...] = ()
    reply: Reply | None = None
    reply_schema: PartSchema = PartSchema({})
    is_key_required: bool = False


def first_problem(problem: ValidationError) -> str:
    """The place and the words of the first mistake, for authors of descriptions."""
    first = problem.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg'].removeprefix('Value error, ')}" if place else first["msg"]


class DraftMaker:
    """Of one description: an AsyncAPI document, or `live`, what a cluster said. `findings` gets what is left out."""

    def __init__(
        self,
        document: AsyncApiDocument | None,
        live: JsonObject,
        source: KafkaSource,
        location: str,
        findings: list[Finding],
    ) -> None:
        self._document = document
        self._live = live
        self._source = source
        self._location = location
        self._findings = findings
        self._schemas = None if document is None else SchemaWriter(document)

    def drafts(self, server: Server) -> Iterator[Draft]:
        if self._document is None:
            for topic in as_array(self._live.get("topics")):
                yield from self._of_topic(as_object(topic))
            return
        of_kafka = {each.name for each in self._document.servers()}
        has_servers = bool(as_object(self._document.root.get("servers")))
        for operation in self._document.operations():
            if isinstance(operation, Skipped):
                self._error(operation.id, f"left out: {operation.reason}")
            elif has_servers and not (
                of_kafka & {*operation.channel.servers} if operation.channel.servers else of_kafka
            ):
                self._error(operation.id, "left out: no server of its channel speaks Kafka")
            elif server.name and operation.channel.servers and server.name not in operation.channel.servers:
                self._warn(operation.id, f"left out: its channel is not on server {server.name}; see spec.kafka.server")
            else:
                yield from self._of_operation(operation)

    def _of_operation(self, operation: Operation) -> Iterator[Draft]:
        receives = operation.action == "receive"
        is_written = receives == (self._source.perspective == "client")
        if operation.answer is not None and not is_written:
            self._warn(operation.id, "it replies to requests, which no tool can do; the requests can be read")
        if not operation.messages:
            self._error(operation.id, "left out: it has no messages")
            return
        if not is_written:
            yield from self._attempt(operation, lambda: self._reading(operation))
            return
        for message in operation.messages:
            yield from self._attempt(operation, lambda message=message: self._writing(operation, message))

    def _attempt(self, operation: Operation, make: Any) -> Iterator[Draft]:
        try:
            yield make()
        except (CannotConvert, InvalidInput, NoSuchMember) as problem:
            reason = problem.message if isinstance(problem, InvalidInput) else str(problem)
            self._error(operation.id, f"left out: {reason}")
        except ValidationError as problem:
            self._error(operation.id, f"left out: its reply cannot be expressed: {first_problem(problem)}")

    def _writing(self, operation: Operation, message: Message) -> Draft:
        channel, answer = operation.channel, operation.answer
        parameters = self._parameters(channel)
        headers, fixed = self._headers(message)
        value = self._value(message, "value", is_input=True)
        reply: Reply | None = None
        reply_schema = PartSchema({})
        if answer is not None:
            reply, reply_schema = self._reply(operation, message)
            headers = without_headers(headers, {reply.correlation_header, reply.topic_header or ""})
            if reply.correlation_pointer is not None:
                value = Part(value.format, without_member(value.schema, reply.correlation_pointer))
        has_several = len(operation.messages) > 1
        return Draft(
            action="produce" if answer is None else "request",
            id=operation.id,
            channel=channel.id,
            topic=channel.topic,
            title=_title(message, operation),
            description=joined(operation.description, _text_of(message), channel.description),
            value=value,
            key=self._key(message, is_input=True),
            headers=headers,
            parameters=parameters,
            suffix=f"_{message.name.rpartition('.')[2] or message.name}" if has_several else "",
            tags=operation.tags,
            fixed_headers=fixed,
            reply=reply,
            reply_schema=reply_schema,
        )

    def _reading(self, operation: Operation) -> Draft:
        channel = operation.channel
        parts = [
            self._value(message, f"value{number or ''}", is_input=False)
            for number, message in enumerate(operation.messages)
        ]
        if any(part.format != parts[0].format for part in parts):
            raise CannotConvert("its messages are written in several ways, and a record does not say in which")
        schema = any_of([part.schema for part in parts])
        return Draft(
            action="read",
            id=operation.id,
            channel=channel.id,
            topic=channel.topic,
            title=operation.messages[0].content.get("title") or channel.id,
            description=joined(operation.description, *map(_text_of, operation.messages), channel.description),
            value=Part(parts[0].format, schema),
            key=self._key(operation.messages[0], is_input=True),
            headers=None,
            parameters=self._parameters(channel),
            tags=operation.tags,
        )

    def _reply(self, operation: Operation, message: Message) -> tuple[Reply, PartSchema]:
        answer = operation.answer
        if answer is None or self._document is None:
            raise CannotConvert("it has no reply")
        header, pointer = self._correlation(message)
        if not header and not pointer:
            raise CannotConvert(
                "its message has no correlationId that can be set, so the reply cannot be told from others; "
                "bind it by hand with spec.kafka.reply"
            )
        parts = [
            self._value(each, f"reply{number or ''}", is_input=False) for number, each in enumerate(answer.messages)
        ]
        if any(part.format != parts[0].format for part in parts):
            raise CannotConvert("its replies are written in several ways")
        back = next((place for each in answer.messages if any(place := self._correlation(each))), ("", ""))
        topic = self._source.reply_topic or answer.channel.topic
        if not topic:
            raise CannotConvert("the topic of its reply is not fixed; set spec.kafka.replyTopic")
        if not {*parameters_of(topic)} <= {*parameters_of(operation.channel.topic)}:
            raise CannotConvert("the topic of its reply has parameters that its own does not have")
        value = parts[0] if parts else Part(MessagePart(), PartSchema({}))
        reply = Reply(
            topic=topic,
            **({"correlation_header": header} if header else {}),
            reply_header=back[0] or None,
            correlation_pointer=pointer or None,
            reply_pointer=back[1] or None,
            topic_header=answer.topic_header or None,
            value=value.format,
        )
        return reply, any_of([part.schema for part in parts])

    def _correlation(self, message: Message) -> tuple[str, str]:
        """The header that bears the correlation id of a message, or the pointer to it in the payload; else empty."""
        if self._document is None:
            return "", ""
        location = as_text(self._document.resolved(message.content.get("correlationId")).get("location"))
        return header_at(location), payload_pointer_at(location)

    def _value(self, message: Message, prefix: str, *, is_input: bool) -> Part:
        payload, form = message.content.get("payload"), as_text(message.content.get("schemaFormat"))
        content_type = as_text(message.content.get("contentType")) or self._default_content_type()
        return self._part(payload, form, content_type, prefix, message.name, is_input=is_input)

    def _key(self, message: Message, *, is_input: bool) -> Part:
        kafka = as_object(as_object(message.content.get("bindings")).get("kafka"))
        key = kafka.get("key")
        if not is_object(key):
            return Part(MessagePart(format="text"), PartSchema({"type": "string"}))
        form = "avro" if key.get("type") in {"record", "fixed"} else ""
        is_text = not form and key.get("type") == "string"
        return self._part(key, form, "text/plain" if is_text else "", "key", is_input=is_input)

    def _part(self, payload: Any, form: str, content_type: str, prefix: str, name: str = "", *, is_input: bool) -> Part:
        """By the schema's format, and for JSON Schema by the content type. `name`: the message's."""
        if is_object(payload) and "schemaFormat" in payload:
            form, payload = as_text(payload.get("schemaFormat")), payload.get("schema")
        kind, media_type = form.lower(), content_type.partition(";")[0].strip().lower()
        if "protobuf" in kind:
            return self._protobuf_part(payload, prefix, name, is_input=is_input)
        if "avro" in kind:
            definition = self._embedded(payload)
            text = definition if isinstance(definition, str) else pydantic_core.to_json(definition).decode()
            part = MessagePart(format="avro", definition=text)
            return Part(part, PartSchema(*schema_of(part, prefix, is_input=is_input)))
        if kind and not any(known in kind for known in ("asyncapi", "schema+", "openapi")):
            raise CannotConvert(f"its payload is described in {form[:60]}, which is not read")
        if media_type.endswith("json") or media_type in _JSON_TYPES:
            return Part(MessagePart(format="json"), self._json_part(payload, prefix))
        if media_type.startswith("text/") or media_type.endswith(("xml", "yaml")):
            schema = self._json_part(payload, prefix).schema if as_object(payload).get("type") == "string" else {}
            return Part(MessagePart(format="text"), PartSchema({**schema, "type": "string"}))
        self._warn("", f"a message of {media_type[:60]} has no schema of its bytes; tools take and show them in base64")
        part = MessagePart(format="bytes")
        return Part(part, PartSchema(*schema_of(part, prefix, is_input=is_input)))

    def _protobuf_part(self, payload: Any, prefix: str, name: str, *, is_input: bool) -> Part:
        """The part for a .proto source in the document or in a file. A fragment of the reference names the message."""
        document, place = self._document, ""
        for _ in range(MAX_REFERENCES):
            reference = as_object(payload).get("$ref")
            if not isinstance(reference, str) or document is None:
                break
            base, _, fragment = reference.partition("#")
            if base.endswith(_PROTO_FILES):
                place, name = resolved_reference("", base), fragment.strip("/") or name
                break
            payload = document.target(reference)
            if is_object(payload) and "schemaFormat" in payload:
                payload = payload.get("schema")
        if document is None or not (place or isinstance(payload, str)):
            raise CannotConvert("its Protobuf schema is neither a .proto source nor a reference to one")
        try:
            descriptors = descriptors_in(document.files, place or source_name(str(payload)))
            part = protobuf_module().protobuf_part(descriptors, name)
            with_comments = part.model_copy(update={"definition": descriptors})
            return Part(part, PartSchema(*schema_of(with_comments, prefix, is_input=is_input)))
        except InvalidInput as problem:
            where = f" at {place[:200]}" if place else ""
            raise CannotConvert(f"its Protobuf schema{where} cannot be used: {problem.message}") from None

    def _json_part(self, schema: Any, prefix: str) -> PartSchema:
        if self._schemas is None or schema is None:
            return PartSchema(*schema_of(MessagePart(), prefix, is_input=True))
        try:
            return self._schemas.part(schema, prefix)
        except CannotDescribe as problem:
            raise CannotConvert(f"its schema cannot be used: {problem}") from None

    def _embedded(self, payload: Any) -> Any:
        """An Avro schema, which may be referred to as a whole."""
        reference = as_object(payload).get("$ref")
        if not isinstance(reference, str) or self._document is None:
            return payload
        target = self._document.target(reference)
        if target is None:
            where = "which is not in the document" if reference.startswith("#") else "which is not fetched"
            raise CannotConvert(f"its Avro schema is at {reference[:200]}, {where}")
        return target

    def _headers(self, message: Message) -> tuple[JsonObject | None, tuple[tuple[str, str], ...]]:
        """JSON Schema of the headers that a caller may set, and those that have one value only."""
        given = message.content.get("headers")
        if given is None or self._schemas is None:
            return ANY_HEADERS, ()
        try:
            written, definitions = self._schemas.part(given, "headers")
        except CannotDescribe:
            self._warn("", f"the headers of {message.name or 'a message'} cannot be described; any are taken")
            return ANY_HEADERS, ()
        while "$ref" in written:
            written = as_object(definitions.get(as_text(written["$ref"]).removeprefix("#/$defs/")))
        if definitions and "$ref" in pydantic_core.to_json(written).decode():
            return ANY_HEADERS, ()
        properties = as_object(written.get("properties"))
        fixed = {name: only for name, schema in properties.items() if (only := only_value(schema)) is not None}
        schema = without_headers({"type": "object", "additionalProperties": {"type": "string"}, **written}, {*fixed})
        return schema, tuple(fixed.items())

    def _parameters(self, channel: Channel) -> dict[str, JsonObject]:
        return {
            name: {"type": "string", "pattern": PARAMETER_PATTERN, **usable_parameter(channel.parameters.get(name, {}))}
            for name in parameters_of(channel.topic)
        }

    def _default_content_type(self) -> str:
        return "" if self._document is None else self._document.default_content_type

    def _of_topic(self, topic: JsonObject) -> Iterator[Draft]:
        name = as_text(topic.get("name"))
        try:
            key = _registered(topic.get("key"), "key", is_input=True)
            values = {
                is_input: _registered(topic.get("value"), "value", is_input=is_input) for is_input in (False, True)
            }
        except (InvalidInput, ValueError) as problem:
            reason = problem.message if isinstance(problem, InvalidInput) else "its schema cannot be used"
            self._error(name, f"left out: {reason}")
            return
        for text in as_array(topic.get("problems")):
            self._error(name, f"left out: {text}")
        if topic.get("problems"):
            return
        key = key or Part(MessagePart(format="text"), PartSchema({"type": "string"}))
        any_json = Part(MessagePart(), PartSchema(*schema_of(MessagePart(), "value", is_input=True)))
        actions: tuple[Action, ...] = ("read", "produce")
        for action in actions:
            value = values[action == "produce"] or any_json
            headers = ANY_HEADERS if action == "produce" else None
            yield Draft(action, f"{action} {name}", name, name, name, "", value, key, headers)

    def _error(self, place: str, message: str) -> None:
        self._findings.append(error(f"{self._location} {place}".strip(), message))

    def _warn(self, place: str, message: str) -> None:
        self._findings.append(warning(f"{self._location} {place}".strip(), message))


def _registered(given: Any, prefix: str, *, is_input: bool) -> Part | None:
    """A part as the description of a live cluster has it. Raises InvalidInput or another ValueError."""
    if not is_object(given):
        return None
    text, references = as_text(given.get("schema")), as_object(given.get("references"))
    part = MessagePart.model_validate({key: value for key, value in given.items() if key in MessagePart.model_fields})
    described = part.model_copy(update={"definition": text}) if part.format == "protobuf" else part
    schema = PartSchema(*schema_of(described, prefix, is_input=is_input))
    if part.format == "json" and text:
        document = AsyncApiDocument(with_files('{"asyncapi": "3.0.0"}', references), "")
        document.root = as_object(pydantic_core.from_json(text))
        try:
            schema = SchemaWriter(document).part(document.root, prefix)
        except CannotDescribe as problem:
            raise InvalidInput(f"its schema cannot be used: {problem}") from None
    return Part(part, schema)


def _title(message: Message, operation: Operation) -> str:
    return as_text(message.content.get("title")) or message.name or operation.id


def _text_of(message: Message) -> str:
    parts = (as_text(message.content.get("summary")).strip(), as_text(message.content.get("description")).strip())
    return "\n".join(part for part in dict.fromkeys(parts) if part)


def joined(*texts: str) -> str:
    """Paragraphs, each once."""
    return "\n\n".join(text for text in dict.fromkeys(text.strip() for text in texts) if text)
