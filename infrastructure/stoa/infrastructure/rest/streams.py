"""Streamed answers as bounded reads: server-sent events (HTML, section 9.2), JSON lines, and JSON text sequences (RFC
7464). What comes until the stream or a bound ends is the answer, in the form that all streams have: `messages`, and
`end` with the reason. Nothing is resumed: a call sees one connection.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import pydantic_core

from stoa.application.ports import ClientChannel
from stoa.domain.operations.binding import StreamBounds
from stoa.domain.results.result import RawAnswer
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.http_client.backend_answers import content_type
from stoa.infrastructure.http_client.compression import CorruptEncoding, Unpacking
from stoa.infrastructure.http_client.event_stream import EventStreamParser, EventTooLarge, ServerSentEvent
from stoa.infrastructure.http_client.failures import HttpFailure
from stoa.infrastructure.http_client.http1.stream import OpenResponse
from stoa.infrastructure.http_client.http1_errors import translated_failure

MARGIN = 0.9
"""Share of the tool's timeout after which reading ends, so that what has come is not lost."""
_FRAME_BYTES = 16
"""Bytes that a piece counts at least, so that a trickle of empty ones ends too."""
_OVERHEAD = 2
"""Bytes of the stream for each byte of messages, before one of nothing but comments is ended."""
_EVENT_STREAM = "text/event-stream"
_WRONGLY_ENCODED = "The stream is wrongly encoded"

Message = tuple[Any, int]
"""A message, and the bytes that it came in."""


class _Ended(Exception):
    """Ends the reading, with the reason as its text: a bound is reached."""


async def read_stream(
    response: OpenResponse, bounds: StreamBounds, seconds: float, channel: ClientChannel | None, whose: str
) -> RawAnswer:
    """The messages that come within the bounds, and within `seconds`. Each is told to the client as progress. `whose`
    names the tool in errors. Raises HttpFailure for a stream that breaks off before its first message."""
    reading = _Reading(response, bounds, channel)
    limit = asyncio.timeout(min(bounds.max_seconds, seconds))
    error: JsonObject | None = None
    end = "completed"
    try:
        async with limit:
            await reading.run()
    except _Ended as ended:
        end = str(ended)
    except TimeoutError as late:
        if isinstance(late, HttpFailure) or not limit.expired():
            raise
        end = "maxDuration"
    except CorruptEncoding:
        end, error = "error", {"message": _WRONGLY_ENCODED}
    except HttpFailure as failure:
        if not reading.messages:
            raise
        end, error = "error", {"message": translated_failure(failure, whose).message}
    content: JsonObject = {"messages": reading.messages, "end": end}
    if error is not None:
        content["error"] = error
    return RawAnswer(
        pydantic_core.to_json(content, inf_nan_mode="constants"),
        "application/json",
        is_error=error is not None,
        status=response.head.status_line,
    )


class _Reading:
    """The messages of one stream, as they come."""

    def __init__(self, response: OpenResponse, bounds: StreamBounds, channel: ClientChannel | None) -> None:
        self.messages: list[Any] = []
        self._response = response
        self._bounds = bounds
        self._channel = channel
        self._size = self._received = 0
        self._unpacking = Unpacking(response.head.header("Content-Encoding") or "")
        media_type, _ = content_type(response.head.header("Content-Type") or "")
        self._parser: _Events | _Records
        if media_type == _EVENT_STREAM:
            self._parser = _Events(bounds.max_bytes)
        else:
            self._parser = _Records(bounds.max_bytes, b"\x1e" if media_type.endswith("json-seq") else b"\n")

    async def run(self) -> None:
        """Reads to the end of the stream. Raises _Ended, HttpFailure, CorruptEncoding."""
        while piece := await self._response.piece():
            for content in self._unpacking.feed(piece):
                self._received += len(content) + _FRAME_BYTES
                await self._add(self._parser.feed(content))
                if self._received > _OVERHEAD * self._bounds.max_bytes + 64 * 1024:
                    raise _Ended("maxBytes")
        await self._add(self._parser.end())  # servers forget the line that would end the last message

    async def _add(self, complete: Iterable[Message]) -> None:
        for message, size in complete:
            self._size += size
            if self._size > self._bounds.max_bytes:
                raise _Ended("maxBytes")
            self.messages.append(message)
            if self._channel is not None:
                await self._channel.progress(len(self.messages))
            if len(self.messages) == self._bounds.max_messages:
                raise _Ended("maxMessages")


class _Events:
    """Server-sent events: `data`, as JSON where it is JSON, with `event` and `id` where the server sets them."""

    def __init__(self, max_bytes: int) -> None:
        self._parser = EventStreamParser(max_bytes)

    def feed(self, content: bytes) -> Iterator[Message]:
        for line in content.splitlines(keepends=True):  # one by one: those before an overlong one count
            try:
                complete = self._parser.feed(line)
            except EventTooLarge:
                raise _Ended("maxBytes") from None
            for event in complete:
                yield _event(event)

    def end(self) -> Iterator[Message]:
        return self.feed(b"\n\n")


class _Records:
    """One JSON value a line, or after each record separator."""

    def __init__(self, max_bytes: int, separator: bytes) -> None:
        self._max_bytes = max_bytes
        self._separator = separator
        self._rest = bytearray()

    def feed(self, content: bytes) -> Iterator[Message]:
        *complete, rest = content.split(self._separator)
        for part in complete:
            self._rest += part
            yield from self.end()
        self._rest += rest
        if len(self._rest) > self._max_bytes:
            raise _Ended("maxBytes")

    def end(self) -> Iterator[Message]:
        record = bytes(self._rest).strip()
        self._rest.clear()
        if record:
            yield _value(record), len(record)


def _event(event: ServerSentEvent) -> Message:
    data = event.data.encode()
    message: JsonObject = {"data": _value(data)}
    if event.type != "message":
        message["event"] = event.type
    if event.id:
        message["id"] = event.id
    return message, len(data) + _FRAME_BYTES


def _value(text: bytes) -> Any:
    """The JSON value, or the text that is none."""
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError:
        return text.decode("utf-8", "replace")
