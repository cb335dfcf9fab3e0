"""Subscriptions as bounded reads (GraphQL, section 6.2.3): what comes until the stream or a bound ends is the answer.

Over graphql-transport-ws (github.com/enisdenjo/graphql-ws, PROTOCOL.md) or GraphQL over Server-Sent Events, distinct
connections mode (graphql-sse, PROTOCOL.md). Nothing is resumed: a call sees one connection.
"""

import asyncio
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, cast

import pydantic_core

from stoa.application.ports import BackendCall, CallContext, ClientChannel
from stoa.domain.errors import BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.domain.operations.binding import StreamBounds
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.graphql.answers import event_of, result_of, shown_errors
from stoa.infrastructure.graphql.calls import QUICKLY_READ_BYTES, AuthorisedCall, HttpCall
from stoa.infrastructure.graphql.request import GraphQlRequest
from stoa.infrastructure.http_client.backend_answers import content_type, too_large
from stoa.infrastructure.http_client.event_stream import EventStreamParser, EventTooLarge
from stoa.infrastructure.http_client.failures import HttpFailure, ResponseTooLong
from stoa.infrastructure.http_client.http1_errors import translated_failure

EVENT_STREAM = "text/event-stream"

_UNENCODED = frozenset({"", "identity", "none"})
"""`none` is no registered coding; GraphQL Yoga sends it so that proxies leave its streams alone."""
_MARGIN = 0.9
"""Of the tool's timeout: reading ends before it, so that what has come is not lost."""
_FRAME_BYTES = 16
"""What a message counts at least, so that a flood of empty ones ends too."""
_FRAMES_A_TURN = 32
"""Frames that are read before other calls have their turn: for those that have come already nothing is waited for."""
_OVERHEAD = 2
"""Bytes on the wire for each byte of messages, before a stream of nothing but comments and pings is ended."""


class StreamAnswer(RawAnswer):
    """The messages of a stream, which are no GraphQL response themselves."""

    __slots__ = ()


class Ended(Exception):
    """Ends the reading, with the reason as its text: a bound is reached, or the stream is complete."""


class Reading:
    """The messages of one stream, as they come. `whose` names the tool in errors."""

    def __init__(self, bounds: StreamBounds, timeout_seconds: float, channel: ClientChannel | None, whose: str) -> None:
        self._bounds = bounds
        self._channel = channel
        self._whose = whose
        self._messages: list[JsonObject] = []
        self._size = self._received = self._frames = 0
        self._limit = asyncio.timeout(_MARGIN * timeout_seconds)
        self._is_begun = False

    async def run(self, stream: Coroutine[Any, Any, RawAnswer]) -> RawAnswer:
        """The answer that the coroutine `stream` gives, or the messages that came until it raised Ended."""
        try:
            async with self._limit:
                return await stream
        except Ended as ended:
            return self._answer(str(ended))
        except TimeoutError:
            if not self._limit.expired() or not self._is_begun:
                raise
            return self._answer("maxDuration")
        except (BackendUnavailable, BackendTimedOut, BackendProtocolError) as error:
            if not self._messages:
                raise
            return self._answer("error", {"message": error.message})
        except HttpFailure as failure:
            if not self._messages:
                raise
            return self._answer("error", {"message": translated_failure(failure, self._whose).message})

    def begin(self) -> None:
        """The service has accepted the subscription: its time begins."""
        self._is_begun = True
        deadline = asyncio.get_running_loop().time() + self._bounds.max_seconds
        self._limit.reschedule(min(deadline, cast("float", self._limit.when())))

    def received(self, count: int) -> None:
        """Raises Ended when a peer sends much that is no message."""
        self._received += count + _FRAME_BYTES
        if self._received > _OVERHEAD * self._bounds.max_bytes + 64 * 1024:
            raise Ended("maxBytes")

    def is_turn_over(self) -> bool:
        """Counts a frame that is read next; True if other calls should have their turn before."""
        self._frames += 1
        return self._frames % _FRAMES_A_TURN == 0

    async def add(self, response: JsonObject, size: int) -> None:
        """One GraphQL response of so many bytes. Raises Ended, BackendProtocolError."""
        self._size += size
        if self._size > self._bounds.max_bytes:
            raise Ended("maxBytes")
        event = event_of(response)
        if event is None:
            raise self.nonsense()
        self._messages.append(event)
        if self._channel is not None:
            await self._channel.progress(len(self._messages))
        if len(self._messages) == self._bounds.max_messages:
            raise Ended("maxMessages")

    def failed(self, errors: list[Any]) -> RawAnswer:
        """Errors that refused the subscription, or that ended it."""
        if self._messages:
            return self._answer("error", {"errors": shown_errors(errors)})
        return RawAnswer(pydantic_core.to_json({"errors": errors}), "application/json")

    def refused(self, status: str, text: str, uri: str) -> RawAnswer:
        if self._messages:
            return self._answer("error", {"message": f"{status} {text}".strip()})
        return RawAnswer(text.encode(), "text/plain", is_error=True, status=status, uri=uri)

    async def parsed(self, text: str) -> JsonObject:
        try:
            is_long = len(text) > QUICKLY_READ_BYTES
            value = await asyncio.to_thread(pydantic_core.from_json, text) if is_long else pydantic_core.from_json(text)
        except ValueError:
            raise self.nonsense() from None
        if not is_object(value):
            raise self.nonsense()
        return value

    def nonsense(self) -> BackendProtocolError:
        return BackendProtocolError(f"The back end of {self._whose} failed: it sends what is no GraphQL subscription")

    def _answer(self, end: str, error: JsonObject | None = None) -> StreamAnswer:
        content: JsonObject = {"messages": self._messages, "end": end}
        if error is not None:
            content["error"] = error
        # Some servers answer a subscription that they refuse with one message, and complete the stream.
        is_refused = bool(self._messages) and all("errors" in each and not each["data"] for each in self._messages)
        body = pydantic_core.to_json(content, inf_nan_mode="constants")
        return StreamAnswer(body, "application/json", is_error=error is not None or is_refused)


class SubscriptionCall(AuthorisedCall, BackendCall):
    """Common to both transports."""

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer | ToolResult:
        # Whole: a server that looks a document up by its hash may not do so for subscriptions.
        request = self._plan.build(arguments, context.request_id, is_whole=True)
        try:
            answer = await self._sent(request, context)
        except OSError as failure:
            problem = translated_failure(failure, self.name)
        else:
            return answer if isinstance(answer, StreamAnswer) else result_of(answer, self.name)
        raise problem  # outside the handler: what the system says of a connection is for operators

    async def _answer(self, request: GraphQlRequest, context: CallContext) -> RawAnswer:
        reading = Reading(self._bounds, self._timeout_seconds, context.channel, self.name)
        return await reading.run(self._stream(request, reading))

    async def _stream(self, request: GraphQlRequest, reading: Reading) -> RawAnswer:
        raise NotImplementedError


class EventStreamCall(SubscriptionCall, HttpCall):
    """GraphQL over Server-Sent Events."""

    async def _stream(self, request: GraphQlRequest, reading: Reading) -> RawAnswer:
        request.headers |= {"Accept": EVENT_STREAM, "Accept-Encoding": "identity"}
        response = await self._client.request(
            self._origin(), request.method, request.url.raw_path_qs, request.headers, request.data, None
        )
        async with response:
            head = response.head
            is_stream = content_type(head.header("Content-Type") or "")[0] == EVENT_STREAM
            if response.status != HTTPStatus.OK or not is_stream:
                try:
                    head.body = await response.read(self._limit)
                except ResponseTooLong:
                    raise too_large(self.name, self._limit) from None
                return await self._read(head, request)
            if (head.header("Content-Encoding") or "identity").lower() not in _UNENCODED:
                raise reading.nonsense()
            reading.begin()
            events = EventStreamParser(self._bounds.max_bytes)
            while piece := await response.piece():
                reading.received(len(piece))
                try:
                    complete = events.feed(piece)
                except EventTooLarge:
                    raise Ended("maxBytes") from None
                for event in complete:
                    if event.type == "complete":
                        raise Ended("completed")
                    if event.type in {"next", "message"}:  # older servers do not name it
                        await reading.add(await reading.parsed(event.data), len(event.data))
            raise Ended("completed")
