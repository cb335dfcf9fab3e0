"""Reads server-sent events (HTML, section 9.2) from bytes as they come, each of bounded size."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r")


class Event(NamedTuple):
    """`data` empty: the event only sets `id` or `retry_ms`."""

    name: str
    data: bytes
    id: str | None
    retry_ms: int | None


class EventTooLong(ValueError):
    """An event, or a line of one, has more bytes than it may have."""


class EventReader:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._searched = 0
        """Bytes of it that hold no end of a line: a long line in many pieces is looked at once."""
        self._name, self._data = "", bytearray()
        self._id: str | None = None
        self._retry: int | None = None
        self._has_any = False
        self.lines = 0
        """Lines so far, comments included: what reading them costs goes by their number."""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that end in this chunk. Raises EventTooLong."""
        self._rest += chunk
        if len(self._rest) > self._limit:
            raise EventTooLong
        start = 0
        searched = len(self._rest)
        for end in _LINE_END.finditer(self._rest, self._searched):
            if end.group() == b"\r" and end.end() == len(self._rest):
                searched -= 1  # its line feed may be in the next chunk
                break
            line = bytes(self._rest[start : end.start()])
            start = end.end()
            self.lines += 1
            if line:
                self._field(line)
            elif self._has_any:
                yield Event(self._name, bytes(self._data), self._id, self._retry)
                self._name, self._data, self._id, self._retry, self._has_any = "", bytearray(), None, None, False
        del self._rest[:start]
        self._searched = searched - start

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data += b"\n" + value if self._data else value
                if len(self._data) > self._limit:
                    raise EventTooLong
            case b"event":
                self._name = value.decode("utf-8", "replace")
            case b"id" if b"\x00" not in value:
                self._id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit() and len(value) < 10:
                self._retry = int(value)
            case _:  # a comment, or a field of a later revision
                return
        self._has_any = True
