"""One metering event as one line of JSON of bounded length.

Every event has a line: one that is too long, or holds text that UTF-8 cannot carry, is cut rather than refused. Its
times, money, status and tenant stay; `metadata.cut` says that something was left out.
"""

from pydantic_core import PydanticSerializationError

from stoa.domain.metering.event import MeteringEvent

MAX_LINE_BYTES = 8 * 1024
"""Newline included."""

_to_json = MeteringEvent.__pydantic_serializer__.to_json
"""What `model_dump_json` calls, without its 0.5 µs of Python and a decoding that would be undone here."""

_CUTS = ((1024, 16), (256, 16), (128, 0))
"""(characters of a text, entries of metadata), tried in turn. The last always fits: a character takes at most six bytes
in JSON, and seven texts of 128 characters with the rest of the event stay below 6 KiB."""


def encode(event: MeteringEvent) -> bytes:
    """The event's line, newline included: at most MAX_LINE_BYTES, no zero byte and no other newline."""
    try:
        line = _to_json(event) + b"\n"
    except PydanticSerializationError:  # half a surrogate pair, in an event that was made without validation
        return _encode_cut(event)
    return line if len(line) <= MAX_LINE_BYTES else _encode_cut(event)


def _encode_cut(event: MeteringEvent) -> bytes:
    line = b""
    for characters, entries in _CUTS:
        line = _to_json(_cut(event, characters, entries)) + b"\n"
        if len(line) <= MAX_LINE_BYTES:
            break
    return line


def _cut(event: MeteringEvent, characters: int, entries: int) -> MeteringEvent:
    def text(value: str) -> str:
        return value[:characters].encode("utf-8", "replace").decode()

    kept = {text(key): text(value) for key, value in list(event.metadata.items())[:entries]}
    return event.model_copy(
        update={
            "event_id": text(event.event_id),
            "tenant": text(event.tenant),
            "project": None if event.project is None else text(event.project),
            "consumer": text(event.consumer),
            "user_id": text(event.user_id),
            "tool": text(event.tool),
            "request_id": None if event.request_id is None else text(event.request_id),
            "metadata": {**kept, "cut": "yes"},
        }
    )
