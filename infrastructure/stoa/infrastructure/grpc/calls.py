"""Calls of gRPC methods: dynamic messages over grpc.aio.

Above: InvokeOperation, which holds the deadline. Below: messages (JSON to wire format and back), channels, status.
A stream is bounded: a list of messages goes in; what came until the stream or a bound ended comes out.
"""

import asyncio
from typing import Any

import pydantic_core

import grpc  # type: ignore[import-untyped]
from stoa.application.ports import BackendCall, CallContext, CredentialSource, Previewable
from stoa.domain.errors import BackendProtocolError, BackendUnavailable
from stoa.domain.operations.access import Access
from stoa.domain.operations.operation import Operation
from stoa.domain.results.result import RawAnswer
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.documents.json_allowance import JsonAllowance
from stoa.infrastructure.grpc.binding import GrpcBinding
from stoa.infrastructure.grpc.channels import Channels, Upstream
from stoa.infrastructure.grpc.messages import MessageCodec
from stoa.infrastructure.grpc.metadata import Metadata, bearer, compile_authentication
from stoa.infrastructure.grpc.status import backend_error, status_of
from stoa.infrastructure.protobuf.message_types import TooManyValues, Undecodable

_MARGIN = 0.9
"""Of the tool's timeout: reading a stream ends before it, so that what has come is not lost."""
_QUICKLY_DECODED_BYTES = 16 * 1024
"""More is decoded in a thread: two bytes may be a message of their own, and other calls would wait for millions."""


def call_of(tool: Operation, binding: GrpcBinding, credentials: CredentialSource, channels: Channels) -> BackendCall:
    """Raises InvalidInput when the binding cannot work."""
    kind = _StreamCall if binding.streams_responses else _UnaryCall
    return kind(tool, binding, credentials, channels)


class _GrpcCall(BackendCall, Previewable):
    def __init__(
        self, tool: Operation, binding: GrpcBinding, credentials: CredentialSource, channels: Channels
    ) -> None:
        self._name = str(tool.key)
        self._timeout_seconds = tool.timeout_seconds
        self._binding = binding
        self._codec = MessageCodec(binding.descriptors, binding.request_type, binding.response_type)
        self._sign = compile_authentication(tool.authentication, tool.tenant, credentials, f"tool {tool.key}")
        self._authentication = tool.authentication.type
        self._is_oauth2 = tool.authentication.type == "oauth2"
        self._may_repeat = binding.access is Access.READ or binding.is_idempotent is True
        self._upstream = Upstream(
            binding.target, tool.tenant, binding.tls, binding.load_balancing, binding.health_service
        )
        self._channels = channels
        self._method: tuple[Any, Any] = (None, None)
        """The channel that was called last, and what calls the method there."""

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer:
        requests = self._encoded(arguments)
        signature = await self._signature(context)
        channel = await self._channels.channel(self._upstream, self._name)
        if channel is not self._method[0]:
            self._method = (channel, self._bound(channel))
        metadata = (*self._binding.metadata, ("x-request-id", _ascii(context.request_id)), *_trace_of(context))
        is_repeated = False
        try:
            return await self._exchange(requests, (*metadata, *signature), context)
        except grpc.aio.AioRpcError as error:
            refusal = error
        if self._is_oauth2 and refusal.code() is grpc.StatusCode.UNAUTHENTICATED:
            renewed = await self._renewed(context, signature)
            if renewed is not None:
                is_repeated = True
                try:
                    return await self._exchange(requests, (*metadata, *renewed), context)
                except grpc.aio.AioRpcError as error:
                    refusal = error
        is_connected = is_repeated or channel.get_state() is grpc.ChannelConnectivity.READY
        return self._refusal(refusal, is_connected=is_connected)

    def preview(self, arguments: JsonObject) -> JsonObject:
        self._encoded(arguments)
        return {
            "target": self._binding.target,
            "method": self._binding.path,
            "metadata": dict(self._binding.metadata),
            "messages" if self._binding.streams_requests else "message": (
                arguments.get("messages", []) if self._binding.streams_requests else arguments
            ),
            "authentication": self._authentication,
        }

    def _encoded(self, arguments: JsonObject) -> list[bytes]:
        if self._binding.streams_requests:
            return [self._codec.encode(message) for message in arguments.get("messages", [])]
        return [self._codec.encode(arguments)]

    def _bound(self, channel: Any) -> Any:
        binding = self._binding
        kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, False): "stream_unary"}
        kind = kinds.get((binding.streams_requests, binding.streams_responses), "stream_stream")
        return getattr(channel, kind)(binding.path)

    async def _signature(self, context: CallContext) -> Metadata:
        if not self._is_oauth2:
            return () if self._sign is None else self._sign()
        if context.upstream is None:
            message = f"{self._name} needs an access token for its back end, and this call brought none"
            raise BackendUnavailable(message, nothing_was_sent=True)
        return bearer(await context.upstream.token())

    async def _renewed(self, context: CallContext, signature: Metadata) -> Metadata | None:
        """Another token, where the server refused the one before and calling again does no harm."""
        access, token = context.upstream, signature[0][1].removeprefix("Bearer ")
        if access is None or not access.refused(token) or not self._may_repeat:
            return None
        return bearer(await access.token())

    async def _exchange(self, requests: list[bytes], metadata: Metadata, context: CallContext) -> RawAnswer:
        raise NotImplementedError

    def _begin(self, requests: list[bytes], metadata: Metadata) -> Any:
        request = iter(requests) if self._binding.streams_requests else requests[0]
        return self._method[1](request, timeout=self._timeout_seconds, metadata=metadata)

    async def _json(self, data: bytes, allowance: JsonAllowance) -> bytes:
        """The JSON of a message. Large ones are read one at a time, so that answers of a hostile server take the memory
        of one. Raises BackendProtocolError."""
        try:
            if len(data) <= _QUICKLY_DECODED_BYTES:
                return self._json_now(data, allowance)
            async with self._channels.large_messages:
                return await asyncio.to_thread(self._json_now, data, allowance)
        except TooManyValues as problem:
            message = f"The back end of {self._name} failed: its answer has {problem}"
        except (Undecodable, pydantic_core.PydanticSerializationError):  # which Any within Any nest too deep for
            message = f"The back end of {self._name} failed: its answer is no {self._binding.response_type}"
        raise BackendProtocolError(message) from None

    def _json_now(self, data: bytes, allowance: JsonAllowance) -> bytes:
        return pydantic_core.to_json(self._codec.decode(data, allowance))

    def _refusal(self, error: Any, *, is_connected: bool) -> RawAnswer:
        problem = backend_error(error, self._name, is_connected=is_connected)
        if problem is not None:
            raise problem
        said = status_of(error, self._codec.any_to_json)
        return RawAnswer(_status_json(said), "application/json", is_error=True, status=said["code"])


class _UnaryCall(_GrpcCall):
    """One message comes back."""

    async def _exchange(self, requests: list[bytes], metadata: Metadata, context: CallContext) -> RawAnswer:  # noqa: ARG002  # for streams
        body = await self._json(await self._begin(requests, metadata), JsonAllowance())
        return RawAnswer(body, "application/json")


class _StreamCall(_GrpcCall):
    """Many messages come back; each is an element of the answer, and told as progress."""

    async def _exchange(self, requests: list[bytes], metadata: Metadata, context: CallContext) -> RawAnswer:
        bounds = self._binding.stream
        messages: list[bytes] = []
        end, size, allowance = "completed", 0, JsonAllowance()
        call = self._begin(requests, metadata)
        try:
            async with asyncio.timeout(min(bounds.max_seconds, _MARGIN * self._timeout_seconds)):
                async for data in call:
                    size += len(data)
                    if size > bounds.max_bytes:
                        end = "maxBytes"
                        break
                    messages.append(await self._json(data, allowance))
                    if context.channel is not None:
                        await context.channel.progress(len(messages))
                    if len(messages) == bounds.max_messages:
                        end = "maxMessages"
                        break
        except TimeoutError:
            end = "maxDuration"
        except grpc.aio.AioRpcError as error:
            if not messages:
                raise
            problem = backend_error(error, self._name)
            told = {"message": problem.message} if problem is not None else status_of(error, self._codec.any_to_json)
            return _broken_off(messages, told)
        except BackendProtocolError as error:
            if not messages:
                raise
            return _broken_off(messages, {"message": error.message})
        finally:
            call.cancel()  # without an end of its own the server would go on sending
        return RawAnswer(_listed(messages, end), "application/json")


def _listed(messages: list[bytes], end: str, error: bytes = b"") -> bytes:
    """`messages` and `error` are JSON."""
    told = b',"error":' + error if error else b""
    return b'{"messages":[' + b",".join(messages) + b'],"end":' + pydantic_core.to_json(end) + told + b"}"


def _broken_off(messages: list[bytes], error: JsonObject) -> RawAnswer:
    """What came before the error that ended the stream is kept."""
    return RawAnswer(_listed(messages, "error", _status_json(error)), "application/json", is_error=True)


def _status_json(status: JsonObject) -> bytes:
    """Without details that nest too deep for JSON."""
    try:
        return pydantic_core.to_json(status)
    except pydantic_core.PydanticSerializationError:
        return pydantic_core.to_json({name: value for name, value in status.items() if name != "details"})


def _trace_of(context: CallContext) -> Metadata:
    """W3C Trace Context, as metadata."""
    trace = context.trace
    if trace is None:
        return ()
    state = (("tracestate", trace.state),) if trace.state else ()
    return (("traceparent", trace.traceparent), *state)


def _ascii(text: str) -> str:
    """A value that metadata can carry; a request id is what a client chose."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character for character in text if " " <= character <= "~")
