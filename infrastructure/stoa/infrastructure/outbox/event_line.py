"""One metering event as one line of JSON of bounded length.

Every event has a line: one that is too long, or has text that UTF-8 cannot encode, is cut rather than refused. Times,
money, status and tenant are never cut; `metadata.cut` marks an event that was.
"""

from functools import lru_cache

from pydantic_core import PydanticSerializationError, to_json

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.domain.metering.event import EventKind, MeteringEvent, heading_of
from stoa.domain.metering.money import MicroUnits, to_json_number

MAX_LINE_BYTES = 8 * 1024
"""Upper bound on a line, including its newline."""

_to_json = MeteringEvent.__pydantic_serializer__.to_json
"""The function behind `model_dump_json`, without 0.5 µs of Python and a decoding that would be undone here."""

_written: BoundedCache[EventKind, tuple[bytes, bytes, bytes]] = BoundedCache(16_384)
"""The bytes that all lines of a kind share."""

_CUTS = ((1024, 16), (256, 16), (128, 0))
"""(characters of a text, entries of metadata), tried in turn. The last always fits: a character takes at most six bytes
in JSON, and seven texts of 128 characters with the rest of the event stay below 6 KiB."""


def encode(event: MeteringEvent) -> bytes:
    """The event's line, newline included: at most MAX_LINE_BYTES, no zero byte and no other newline."""
    heading = heading_of(event)
    try:
        if heading is None:
            line = _to_json(event) + b"\n"
        else:  # only what differs from others of its kind has to be written
            kind, event_id, timestamp, request_id = heading
            caller, end, rest = _written.get(kind) or _written_of(kind)
            line = b'{"event_id":%b,"timestamp":%b,%b,"latency_ms":%d,%b,"cost_units":%b,"request_id":%b,%b}\n' % (
                event_id, timestamp, caller, event.latency_ms, end, _cost(event.cost_units), request_id, rest
            )  # fmt: skip
    except PydanticSerializationError:  # half a surrogate pair, in an event that was made without validation
        return _encode_cut(event)
    return line if len(line) <= MAX_LINE_BYTES else _encode_cut(event)


def _written_of(kind: EventKind) -> tuple[bytes, bytes, bytes]:
    """The members of each run that events of a kind share."""
    runs = (
        {name: getattr(kind, name) for name in ("tenant", "project", "consumer", "user_id", "tool")},
        {"status": kind.status, "calls": 1},
        {"metadata": kind.metadata},
    )
    caller, end, rest = (to_json(run)[1:-1] for run in runs)
    _written.put(kind, (caller, end, rest))
    return caller, end, rest


@lru_cache(maxsize=4096)
def _cost(units: MicroUnits) -> bytes:
    return to_json(to_json_number(units))


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

    metadata = {text(key): text(value) for key, value in list(event.metadata.items())[:entries]}
    return event.model_copy(
        update={
            "event_id": text(event.event_id),
            "tenant": text(event.tenant),
            "project": None if event.project is None else text(event.project),
            "consumer": text(event.consumer),
            "user_id": text(event.user_id),
            "tool": text(event.tool),
            "request_id": None if event.request_id is None else text(event.request_id),
            "metadata": {**metadata, "cut": "yes"},
        }
    )
