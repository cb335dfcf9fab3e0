"""Reads server-sent events (HTML, section 9.2.6) from the bytes of an answer, within a bound."""

import re
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventTooLarge(ValueError):
    """One event, or one line of it, has more bytes than it may have."""


class ServerSentEvent(NamedTuple):
    type: str
    """`message` where the server names none."""
    data: str
    id: str = ""
    """The last id that the server set, up to this event."""


class EventStreamParser:
    """The events of one stream, which may be cut anywhere into chunks. An event has at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._type = self._id = ""
        self._is_first_line = True
        self._ended_in_cr = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that this chunk completes. Raises EventTooLarge."""
        if self._ended_in_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # a CR LF that the chunks have cut in two
        if not chunk:
            return []
        self._ended_in_cr = chunk.endswith(b"\r")
        *complete, rest = _LINE_END.split(chunk)
        events: list[ServerSentEvent] = []
        for part in complete:
            self._line += part
            self._bounded(len(self._line))
            event = self._ended(bytes(self._line))
            self._line.clear()
            if event is not None:
                events.append(event)
        self._line += rest
        self._bounded(len(self._line))
        return events

    def _ended(self, line: bytes) -> ServerSentEvent | None:
        if self._is_first_line:
            self._is_first_line, line = False, line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._dispatched()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size += len(value) + 1
            self._bounded(0)
            self._data.append(value)
        elif field == b"event":
            self._type = value.decode("utf-8", "replace")
        elif field == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        return None

    def _dispatched(self) -> ServerSentEvent | None:
        """An event without data is none, but for its type: GraphQL over SSE ends with such a one."""
        event = None
        if self._data or self._type:
            data = b"\n".join(self._data).decode("utf-8", "replace")
            event = ServerSentEvent(self._type or "message", data, self._id)
        self._data, self._size, self._type = [], 0, ""
        return event

    def _bounded(self, more: int) -> None:
        if self._size + more > self._max_bytes + 256:  # 256: the field's name, and an event's type
            raise EventTooLarge
