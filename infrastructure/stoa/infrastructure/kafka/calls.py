"""Calls of Kafka tools: arguments to records, and records to answers.

Above: InvokeOperation, which holds the deadline. Below: codec (JSON values to bytes and back), clients, producer,
reader, replies.
"""

import asyncio
import base64
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pydantic_core

from stoa.application.ports import BackendCall, CallContext, CredentialSource, Previewable
from stoa.domain.errors import BackendUnavailable, InvalidArguments, InvalidInput, Unavailable, Violation
from stoa.domain.operations.operation import Operation
from stoa.domain.results.result import RawAnswer
from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.infrastructure.documents.json_allowance import AllowanceExceeded, JsonAllowance
from stoa.infrastructure.kafka.binding import KafkaBinding, Reply, topic_of
from stoa.infrastructure.kafka.clients import Client, Clients, Upstream
from stoa.infrastructure.kafka.codec import FRAME_BYTES, PartReader, PartWriter
from stoa.infrastructure.kafka.correlation import with_member
from stoa.infrastructure.kafka.part_codec import Undecodable
from stoa.infrastructure.kafka.problems import (
    BrokerRefusal,
    NoBroker,
    WrongAnswer,
    is_refused_login,
    translated,
)
from stoa.infrastructure.kafka.producer import Receipt
from stoa.infrastructure.kafka.reader import Selection, read, record_size
from stoa.infrastructure.kafka.registry import SchemaRegistries, learn
from stoa.infrastructure.kafka.reply_ids import place_of_id
from stoa.infrastructure.kafka.security import SecretReader
from stoa.infrastructure.kafka.tool_schemas import DEFAULT_LIMIT

_MARGIN = 0.9
"""Of the tool's timeout: reading ends before it, so that what was found is not lost."""
_EXAMPLE_ID = str(uuid.UUID(int=0))
"""In previews; a call makes its own."""
_QUICKLY_DECODED_BYTES = 16 * 1024
"""More is decoded in a thread: a byte may be a value of its own, and other calls would wait."""
_TRACE_HEADERS = ("traceparent", "tracestate")
_FAILURES = (BrokerRefusal, NoBroker, WrongAnswer)


def call_of(
    tool: Operation,
    binding: KafkaBinding,
    credentials: CredentialSource,
    clients: Clients,
    registries: SchemaRegistries,
) -> BackendCall:
    """Raises InvalidInput when the binding cannot work."""
    kinds: dict[str, Any] = {"produce": _ProduceCall, "read": _ReadCall, "request": _RequestCall}
    call: BackendCall = kinds[binding.action](tool, binding, credentials, clients, registries)
    return call


class _KafkaCall(BackendCall, Previewable):
    def __init__(
        self,
        tool: Operation,
        binding: KafkaBinding,
        credentials: CredentialSource,
        clients: Clients,
        registries: SchemaRegistries,
    ) -> None:
        self._name = str(tool.key)
        self._tenant = tool.tenant
        self._timeout_seconds = tool.timeout_seconds
        self._binding = binding
        self._parameters = _defaults_of(tool.input_schema)
        self._clients = clients
        self._registries = registries
        self._authentication = tool.authentication.type
        self._secrets = SecretReader(
            tool.authentication, binding.security, tool.tenant, credentials, f"tool {tool.key}"
        )
        self._upstream = Upstream(binding.bootstrap_servers, binding.security, tool.tenant, tool.authentication)

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer:
        token = await self._token(context)
        try:
            return await self._once(token, arguments, context)
        except _FAILURES as problem:
            failure = problem
        # A connection that was refused has sent nothing, so the call is made once more where another token can be had.
        access = context.upstream
        if token and access is not None and is_refused_login(failure) and access.refused(token):
            token = await access.token()
            try:
                return await self._once(token, arguments, context)
            except _FAILURES as problem:
                failure = problem
        if isinstance(failure, BrokerRefusal):
            return _refused(failure)
        raise translated(failure, self._name)

    def preview(self, arguments: JsonObject) -> JsonObject:
        return {
            "action": self._binding.action,
            "bootstrapServers": [*self._binding.bootstrap_servers],
            "topic": self._topic(arguments),
            **self._previewed(arguments),
            "securityProtocol": self._binding.security.protocol,
            "authentication": self._authentication,
        }

    async def _once(self, token: str, arguments: JsonObject, context: CallContext) -> RawAnswer:
        caller = context.principal.authorization_key if self._secrets.is_of_caller else ""
        with self._clients.lent(self._upstream, self._secrets, token, caller) as client:
            return await self._perform(client, arguments, context)

    async def _perform(self, client: Client, arguments: JsonObject, context: CallContext) -> RawAnswer:
        raise NotImplementedError

    def _previewed(self, arguments: JsonObject) -> JsonObject:
        raise NotImplementedError

    def _topic(self, arguments: JsonObject) -> str:
        return topic_of(self._binding.topic, self._filled(arguments))

    def _filled(self, arguments: JsonObject) -> dict[str, str]:
        return {**self._parameters, **as_object(arguments.get("parameters"))}

    async def _token(self, context: CallContext) -> str:
        if not self._secrets.is_oauth2:
            return ""
        if context.upstream is None:
            message = f"{self._name} needs an access token for its back end, and this call brought none"
            raise BackendUnavailable(message, nothing_was_sent=True)
        return await context.upstream.token()

    async def _learn(self, reader: PartReader, contents: list[bytes | None]) -> None:
        """Asks the registry for the schemas that records name and that are not known yet."""
        registry = self._binding.registry
        if registry is None:
            return
        try:
            await learn(reader, contents, self._registries, registry, self._tenant)
        except Unavailable as away:
            raise BackendUnavailable(f"The back end of {self._name} failed: {away.message}") from None


class _WritingCall(_KafkaCall):
    """What `produce` and `request` share: arguments to a record."""

    def __init__(
        self,
        tool: Operation,
        binding: KafkaBinding,
        credentials: CredentialSource,
        clients: Clients,
        registries: SchemaRegistries,
    ) -> None:
        super().__init__(tool, binding, credentials, clients, registries)
        self._value = PartWriter(binding.value, "value")
        self._key = PartWriter(binding.key, "key")
        self._reserved = frozenset({*_TRACE_HEADERS, *(name.lower() for name, _ in binding.fixed_headers)})

    def _headers(self, arguments: JsonObject, context: CallContext | None) -> list[tuple[str, bytes]]:
        headers = [(name, text.encode("utf-8")) for name, text in self._binding.fixed_headers]
        for name, value in as_object(arguments.get("headers")).items():
            if name.lower() in self._reserved:
                raise InvalidArguments([Violation(f"/headers/{name}", "a header that the gateway does not set itself")])
            text = value if isinstance(value, str) else pydantic_core.to_json(value).decode()
            headers.append((name, text.encode("utf-8")))
        if context is not None and context.trace is not None:
            headers.append(("traceparent", context.trace.traceparent.encode()))
            if context.trace.state:
                headers.append(("tracestate", context.trace.state.encode()))
        return headers

    async def _send(
        self, client: Client, topic: str, arguments: JsonObject, headers: list[tuple[str, bytes]]
    ) -> Receipt:
        return await client.producer.send(
            topic,
            self._key.write(arguments.get("key")),
            self._value.write(arguments["value"]),
            headers,
            arguments.get("partition"),
        )

    def _previewed(self, arguments: JsonObject) -> JsonObject:
        key, value = self._key.write(arguments.get("key")), self._value.write(arguments["value"])
        partition = {"partition": arguments["partition"]} if "partition" in arguments else {}
        return {
            **partition,
            "headers": {name: content.decode("utf-8", "replace") for name, content in self._headers(arguments, None)},
            "key": _shown(key),
            "value": _shown(value),
        }


class _ProduceCall(_WritingCall):
    async def _perform(self, client: Client, arguments: JsonObject, context: CallContext) -> RawAnswer:
        topic = self._topic(arguments)
        receipt = await self._send(client, topic, arguments, self._headers(arguments, context))
        answer: JsonObject = {"topic": topic, "partition": receipt.partition, "timestamp": receipt.timestamp}
        return _answer(answer | ({"offset": receipt.offset} if receipt.offset >= 0 else {}))


class _RequestCall(_WritingCall):
    """A record with a correlation id, and the record that answers it."""

    def __init__(
        self,
        tool: Operation,
        binding: KafkaBinding,
        credentials: CredentialSource,
        clients: Clients,
        registries: SchemaRegistries,
    ) -> None:
        super().__init__(tool, binding, credentials, clients, registries)
        if binding.reply is None:
            raise InvalidInput(f"tool {tool.key}: a request needs spec.kafka.reply")
        self._reply: Reply = binding.reply
        own = {self._reply.topic_header or ""}
        if self._reply.correlation_pointer is None:
            own.add(self._reply.correlation_header)
        self._reserved |= {name.lower() for name in own}
        self._reply_place = place_of_id(self._reply, registries, binding.registry, tool.tenant)
        self._reply_value = PartReader(self._reply.value)
        self._reply_key = PartReader(binding.key.model_copy(update={"format": "text", "schema_id": None}))

    async def _perform(self, client: Client, arguments: JsonObject, context: CallContext) -> RawAnswer:
        topic, reply_topic = self._topic(arguments), topic_of(self._reply.topic, self._filled(arguments))
        headers = self._headers(arguments, context)
        try:
            replies = await client.replies(reply_topic)
        except NoBroker as failure:
            raise failure.unsent() from failure
        id_text = str(uuid.uuid4())  # 122 random bits
        correlation_id = id_text.encode()
        if self._reply.correlation_pointer is None:
            headers.append((self._reply.correlation_header, correlation_id))
        else:
            arguments = self._with_id(arguments, self._reply.correlation_pointer, id_text)
        if self._reply.topic_header is not None:
            headers.append((self._reply.topic_header, reply_topic.encode()))
        reply = replies.expect(correlation_id, self._reply_place)
        try:
            await self._send(client, topic, arguments, headers)
            record = await reply
        finally:
            replies.over(correlation_id)
        await self._learn(self._reply_value, [record.value])
        readers = self._reply_key, self._reply_value
        return await _answered([record], *readers, lambda shown: {"topic": reply_topic, **shown[0]})

    def _previewed(self, arguments: JsonObject) -> JsonObject:
        reply_topic = topic_of(self._reply.topic, self._filled(arguments))
        if self._reply.correlation_pointer is not None:
            arguments = self._with_id(arguments, self._reply.correlation_pointer, _EXAMPLE_ID)
        return {**super()._previewed(arguments), "replyTopic": reply_topic}

    def _with_id(self, arguments: JsonObject, pointer: str, text: str) -> JsonObject:
        return {**arguments, "value": with_member(arguments["value"], pointer, text)}


class _ReadCall(_KafkaCall):
    def __init__(
        self,
        tool: Operation,
        binding: KafkaBinding,
        credentials: CredentialSource,
        clients: Clients,
        registries: SchemaRegistries,
    ) -> None:
        super().__init__(tool, binding, credentials, clients, registries)
        self._value = PartReader(binding.value)
        self._key = PartReader(binding.key)
        self._wanted_key = PartWriter(binding.key, "key")
        self._bounds = binding.read.model_copy(
            update={"max_seconds": min(binding.read.max_seconds, _MARGIN * tool.timeout_seconds)}
        )

    async def _perform(self, client: Client, arguments: JsonObject, context: CallContext) -> RawAnswer:
        selection = self._selection(arguments)
        channel = f"wait:{uuid.uuid4()}"
        result = await read(client.cluster, self._topic(arguments), selection, self._bounds, channel)
        await self._learn(self._value, [record.value for record in result.records])
        await self._learn(self._key, [record.key for record in result.records])
        if context.channel is not None and result.records:
            await context.channel.progress(len(result.records))
        following = {str(number): offset for number, offset in sorted(result.next_offsets.items())}
        return await _answered(
            result.records,
            self._key,
            self._value,
            lambda shown: {"records": shown, "end": result.end, "nextOffsets": following},
        )

    def _previewed(self, arguments: JsonObject) -> JsonObject:
        self._selection(arguments)
        return {"selection": {name: value for name, value in arguments.items() if name != "parameters"}}

    def _selection(self, arguments: JsonObject) -> Selection:
        offsets, since = arguments.get("offsets"), arguments.get("since")
        if offsets is not None and (since is not None or "partition" in arguments):
            raise InvalidArguments([Violation("/offsets", "either offsets, or since and partition")])
        return Selection(
            min(arguments.get("limit", DEFAULT_LIMIT), self._bounds.max_messages),
            arguments.get("partition"),
            None if offsets is None else {int(number): offset for number, offset in offsets.items()},
            None if since is None else _milliseconds(since),
            self._key_filter(arguments),
            min(float(arguments.get("waitSeconds", 0)), self._bounds.max_seconds),
        )

    def _key_filter(self, arguments: JsonObject) -> Any:
        if "key" not in arguments:
            return None
        wanted = self._wanted_key.write(arguments["key"])
        start = FRAME_BYTES if wanted is not None and self._wanted_key.has_frame else 0
        content = wanted and wanted[start:]  # another producer may have registered the same schema under another id

        def is_wanted(record: Any) -> bool:
            return bool((record.key and record.key[start:]) == content)

        return is_wanted


async def _answered(
    records: list[Any], key: PartReader, value: PartReader, content: Callable[[list[JsonObject]], JsonObject]
) -> RawAnswer:
    """The answer with the content of records, all within one allowance. Raises WrongAnswer."""
    allowance = JsonAllowance()

    def made() -> RawAnswer:
        return _answer(content([_record(record, key, value, allowance) for record in records]))

    return made() if sum(map(record_size, records)) <= _QUICKLY_DECODED_BYTES else await asyncio.to_thread(made)


def _record(record: Any, key: PartReader, value: PartReader, allowance: JsonAllowance) -> JsonObject:
    content: JsonObject = {"partition": record.partition, "offset": record.offset, "timestamp": record.timestamp}
    problems: list[str] = []
    for name, reader, data in (("key", key, record.key), ("value", value, record.value)):
        try:
            content[name] = reader.read(data, allowance)
        except (Undecodable, AllowanceExceeded):
            content[f"{name}Base64"] = base64.b64encode(data).decode("ascii")
            problems.append(name)
    if problems:
        content["problem"] = f"{' and '.join(problems)} cannot be read by the tool's schema, or has too many values"
    content["headers"] = {name: _header_text(data) for name, data in record.headers}
    return content


def _header_text(data: bytes | None) -> Any:
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _shown(data: bytes | None) -> Any:
    """Bytes of a record, for people: as text, or in base64."""
    return _header_text(data)


def _milliseconds(text: str) -> int:
    try:
        when: datetime | None = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise InvalidArguments([Violation("/since", "a time as 2026-03-02T08:00:00Z (RFC 3339)")])
    return max(0, int(when.timestamp() * 1000))


def _refused(refusal: BrokerRefusal) -> RawAnswer:
    content = {"error": refusal.name, "message": refusal.reason}
    return RawAnswer(pydantic_core.to_json(content), "application/json", is_error=True, status=refusal.name)


def _answer(content: JsonObject) -> RawAnswer:
    """Raises WrongAnswer for values that nest too deep for JSON, as Any within Any may."""
    try:
        return RawAnswer(pydantic_core.to_json(content, inf_nan_mode="null"), "application/json")
    except pydantic_core.PydanticSerializationError:
        raise WrongAnswer("a record nests deeper than JSON is written") from None


def _defaults_of(input_schema: JsonObject) -> dict[str, str]:
    """Values of the topic's parameters that are not given."""
    part = as_object(as_object(input_schema.get("properties")).get("parameters"))
    every = as_object(part.get("properties"))
    return {name: schema["default"] for name, schema in every.items() if "default" in as_object(schema)}
