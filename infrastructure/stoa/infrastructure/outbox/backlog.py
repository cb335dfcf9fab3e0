"""OutboxMeteringBacklog: the events in the outboxes of one directory that have not been forwarded yet.

It reads the segments of all writers, living and dead, from its last position, which it stores in a cursor file. A lock
file elects the process that forwards; the lock is released when that process ends in any way. The disk is touched in
threads only.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import pydantic_core
from pydantic import TypeAdapter

from stoa.application.ports.metering_backlog import Batch, MeteringBacklog, RecordedEvent, Rejected, RelayStatus
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.outbox.cursor import Cursor, load_cursor, replace_file, store_cursor
from stoa.infrastructure.outbox.event_line import MAX_LINE_BYTES
from stoa.infrastructure.outbox.segment import POISON, list_segments, read_piece, waiting_bytes

LOCK = "relay.lock"
STATUS = "relay-status.json"
_STATUS: TypeAdapter[RelayStatus] = TypeAdapter(RelayStatus)
T = TypeVar("T")


@dataclass(slots=True)
class _Reading:
    """A batch while it is collected."""

    events: list[RecordedEvent]
    damaged: list[Rejected]
    offsets: dict[str, int]
    finished: set[str]
    size: int = 0

    @property
    def count(self) -> int:
        return len(self.events) + len(self.damaged)


class OutboxMeteringBacklog(MeteringBacklog):
    """Reads the events to forward. Several may exist per directory; the first to ask holds the lock until it is closed
    or its process ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock: int | None = None
        self._cursor = Cursor()
        self._status = RelayStatus()
        self._stored_status: RelayStatus | None = None
        """The content of the status file, if this object wrote it."""
        self._moments: dict[tuple[str, int], datetime | None] = {}
        """End time of the call whose event waits at each position, as last read."""

    async def read(self, *, max_events: int, max_bytes: int) -> Batch | None:
        return await self._in_thread(lambda: self._read(max_events, max(max_bytes, MAX_LINE_BYTES)))

    async def reject(self, rejected: Sequence[Rejected]) -> None:
        await self._in_thread(lambda: self._reject(rejected))

    async def acknowledge(self, batch: Batch, *, relayed: int) -> None:
        position = batch.position
        if self._lock is None or not isinstance(position, Cursor):
            raise MeteringUnavailable(f"The relay of {self._directory} has lost its turn; another one goes on")
        rejected = len(batch.damaged) + len(batch.events) - relayed
        counts = {"relayed": self._cursor.relayed + relayed, "rejected": self._cursor.rejected + rejected}
        await self._in_thread(lambda: self._move(position.model_copy(update=counts)))
        self._status = replace(self._status, failure="")

    async def fail(self, reason: str) -> None:
        self._status = replace(self._status, failures=self._status.failures + 1, failure=reason)

    async def status(self) -> RelayStatus:
        self._status = await self._in_thread(self._read_status if self._lock is None else self._measure)
        return self._status

    async def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        with _translated(self._directory):
            return await asyncio.to_thread(work)

    def _has_turn(self) -> bool:
        if self._lock is not None:
            if _is_same_file(self._lock, self._directory / LOCK):
                return True
            os.close(self._lock)  # it was removed with the outbox: another process may hold a new one
            self._lock = None
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._cursor = load_cursor(self._directory)
            self._status = replace(self._read_status(), failure="")
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._lock = descriptor
        return True

    def _read(self, max_events: int, max_bytes: int) -> Batch | None:
        if not self._has_turn():
            return None
        paths = list_segments(self._directory)
        names = {path.name for path in paths}
        cursor = self._cursor
        # Entries of removed segments are dropped, or the cursor would grow with every segment ever written.
        reading = _Reading(
            [],
            [],
            {name: offset for name, offset in cursor.offsets.items() if name in names},
            {name for name in cursor.finished if name in names},
        )
        for path in paths:
            if path.name in reading.finished:
                continue
            if reading.count >= max_events or reading.size + MAX_LINE_BYTES > max_bytes:
                break
            with suppress(FileNotFoundError):  # it was archived
                _read_segment(path, reading, max_events, max_bytes)
        position = cursor.model_copy(update={"offsets": reading.offsets, "finished": frozenset(reading.finished)})
        if reading.count:
            return Batch(tuple(reading.events), position, tuple(reading.damaged))
        if position != cursor:
            # No event to forward, but a segment has ended: stored, so that the sink may delete it when it needs room.
            self._move(position)
        return None

    def _move(self, cursor: Cursor) -> None:
        store_cursor(self._directory, cursor)
        self._cursor = cursor

    def _reject(self, rejected: Sequence[Rejected]) -> None:
        descriptor = os.open(self._directory / POISON, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            for rejection in rejected:
                line = rejection.line.strip(b"\0")[:MAX_LINE_BYTES].decode("utf-8", "replace")
                file.write(pydantic_core.to_json({"reason": rejection.reason, "line": line}) + b"\n")
            file.flush()
            # Synced before the cursor moves past these events: afterwards they are stored nowhere else.
            os.fsync(file.fileno())

    def _measure(self) -> RelayStatus:
        cursor = self._cursor
        waiting = 0
        moments: dict[tuple[str, int], datetime | None] = {}
        for path in list_segments(self._directory):
            if path.name in cursor.finished:
                continue
            place = (path.name, cursor.offsets.get(path.name, 0))
            with suppress(FileNotFoundError):
                if size := waiting_bytes(path, place[1]):
                    waiting += size
                    moments[place] = self._moments[place] if place in self._moments else _moment_at(path, place[1])
        self._moments = moments
        status = replace(
            self._status,
            waiting_bytes=waiting,
            oldest=min((moment for moment in moments.values() if moment is not None), default=None),
            relayed=cursor.relayed,
            rejected=cursor.rejected,
        )
        if status != self._stored_status:
            with suppress(OSError):  # only the other workers' answers depend on it
                replace_file(self._directory / STATUS, _STATUS.dump_json(status), is_synced=False)
            self._stored_status = status
        return status

    def _read_status(self) -> RelayStatus:
        try:
            return _STATUS.validate_json((self._directory / STATUS).read_bytes())
        except (FileNotFoundError, ValueError):
            return RelayStatus()


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _read_segment(path: Path, reading: _Reading, max_events: int, max_bytes: int) -> None:
    offset = reading.offsets.get(path.name, 0)
    piece = read_piece(path, offset, max_bytes - reading.size)
    end = piece.end
    lines = piece.lines[: max_events - reading.count]
    is_cut = len(lines) < len(piece.lines)
    if is_cut:
        end = offset + sum(len(line) + 1 for line in lines)
    for line in lines:
        reading.size += len(line) + 1
        try:
            reading.events.append(RecordedEvent(MeteringEvent.from_json(line), line))
        except ValueError:
            reading.damaged.append(Rejected(line, "damaged on the disk: not a metering event"))
    if piece.is_last and not is_cut:
        reading.finished.add(path.name)
        reading.offsets.pop(path.name, None)
    elif end != offset:
        reading.offsets[path.name] = end


def _moment_at(path: Path, offset: int) -> datetime | None:
    with path.open("rb") as file:
        line = os.pread(file.fileno(), MAX_LINE_BYTES, offset).partition(b"\n")[0]
    try:
        return MeteringEvent.from_json(line).timestamp
    except ValueError:
        return None


@contextmanager
def _translated(directory: Path) -> Generator[None]:
    try:
        yield
    except OSError as failure:
        raise MeteringUnavailable(
            f"The relay cannot work in {directory}: {failure.strerror or 'unknown error'}; check the disk and the "
            "rights of this user"
        ) from failure
