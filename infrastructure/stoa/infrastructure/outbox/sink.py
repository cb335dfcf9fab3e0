"""OutboxMeteringSink: keeps metering events in segments on the local disk; what forwards them reads the segments.

Room is accounted for in whole lines of the greatest length: `admit` and `record` compare one integer, and only
when it says "no more" is a further segment allocated. The sink deletes no event, except of segments that it is told
are elsewhere, and those only when it needs the room.
"""

import asyncio
import errno
import sys
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.metering import MeteringSink
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering import MeteringEvent
from stoa.infrastructure.outbox.event_line import MAX_LINE_BYTES, encode
from stoa.infrastructure.outbox.group_commit import GroupCommit
from stoa.infrastructure.outbox.segment import POISON, Segment, list_segments, reclaim, remove

_RETRY_NS = 1_000_000_000
_NEARLY_FULL = 0.8

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "no space is left there; free some or choose another directory"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "not writable; grant access or choose another directory"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "not a directory; remove the file or choose another directory"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "too many open files; raise the limit of open files"),
}

SegmentFactory = Callable[[Path, datetime, int], Segment]
Relayed = Callable[[Path], Collection[str]]
"""Names of the segments in a directory of which every event is elsewhere. May raise OSError."""


class OutboxMeteringSink(MeteringSink, HealthProbe):
    """One per process (make it after forking), any number of processes per directory.

    `durability` "process": a recorded event survives the death of this process; a power loss may take the last seconds.
    "fsync": it survives a power loss as well; concurrent records share one wait for the disk.
    `max_total_bytes` bounds the directory as a whole; processes that allocate in the same moment may each pass it by
    one segment. `relayed`: what may be deleted to stay below it, the oldest first; None: nothing.
    """

    name = "metering"

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        segment_bytes: int = 8 * 1024 * 1024,
        max_total_bytes: int = 1024 * 1024 * 1024,
        durability: Literal["process", "fsync"] = "process",
        relayed: Relayed | None = None,
        create_segment: SegmentFactory = Segment.create,
    ) -> None:
        if segment_bytes < MAX_LINE_BYTES:
            raise ValueError(f"segment_bytes is {segment_bytes}; one event may need {MAX_LINE_BYTES}")
        if max_total_bytes < segment_bytes:
            raise ValueError(f"max_total_bytes is {max_total_bytes}; one segment needs {segment_bytes} (segment_bytes)")
        self._directory = directory
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._max_total_bytes = max_total_bytes
        self._relayed = relayed
        self._create_segment = create_segment
        self._commits = GroupCommit() if durability == "fsync" else None
        self._segments: deque[Segment] = deque()
        """The one being filled, then the spare ones."""
        self._admitted = 0
        self._unclaimed = 0
        """Bytes that neither an event nor a promise holds; below zero only after a segment broke."""
        self._last_stamp = datetime.min.replace(tzinfo=UTC)
        self._census = (0, 0)
        """Segments and bytes in the directory when it was last looked at."""
        self._removable = 0
        """Bytes of them that may be deleted."""
        self._problem = ""
        self._retry_at_ns = 0
        with suppress(MeteringUnavailable):  # `health` and `admit` tell; an embedding program starts anyway
            self._make_room()

    def admit(self) -> None:
        if self._unclaimed < MAX_LINE_BYTES:
            self._make_room()
        self._unclaimed -= MAX_LINE_BYTES
        self._admitted += 1

    async def record(self, event: MeteringEvent, *, is_admitted: bool = True) -> None:
        line = encode(event)
        if is_admitted and self._admitted:
            self._admitted -= 1
            self._unclaimed += MAX_LINE_BYTES
        elif self._unclaimed < MAX_LINE_BYTES:
            self._make_room()
        segment = self._append(line)
        if self._commits is not None:
            try:
                await self._commits.cover(segment)
            except OSError as failure:
                self._abandon(segment)
                raise self._failed(failure) from failure

    def health(self) -> Health:
        segments, total = self._census
        detail = f"{self._directory}: {segments} segments, {total} bytes of at most {self._max_total_bytes}"
        if not self._problem:
            is_nearly_full = total - self._removable > self._max_total_bytes * _NEARLY_FULL
            remedy = (
                "archive and remove old segments soon" if self._relayed is None else "most of it was not relayed yet"
            )
            return Health(True, detail, (f"{detail}; {remedy}",) if is_nearly_full else ())
        if self._unclaimed >= MAX_LINE_BYTES:
            return Health(True, detail, (self._problem,))
        # Out of rotation no call would come and find that there is room again, so the question itself starts a try.
        with suppress(RuntimeError):
            asyncio.get_running_loop().call_soon(self._try_again)
        return Health(False, self._problem)

    async def close(self) -> None:
        """Give unused space back. Called after the last `record`; later ones are refused."""
        self._problem = f"Metering to {self._directory} is closed"
        self._retry_at_ns = sys.maxsize
        while self._segments:
            self._retire(self._segments.popleft())
        self._recount()
        if self._commits is not None:
            with suppress(OSError):  # its records have been told
                await self._commits.run()

    def _append(self, line: bytes) -> Segment:
        segment = self._segment_for(len(line))
        try:
            segment.append(line)
        except OSError:  # once more, in another segment: the event must not depend on one bad file
            self._abandon(segment)
            segment = self._segment_for(len(line))
            try:
                segment.append(line)
            except OSError as failure:
                self._abandon(segment)
                raise self._failed(failure) from failure
        self._unclaimed -= len(line)
        return segment

    def _segment_for(self, size: int) -> Segment:
        if self._segments and self._segments[0].room < size:
            self._abandon(self._segments[0])
        if not self._segments:
            self._add_segment()
        return self._segments[0]

    def _make_room(self) -> None:
        while self._unclaimed < MAX_LINE_BYTES:
            self._add_segment()

    def _add_segment(self) -> None:
        if self._problem and self._clock.monotonic_ns() < self._retry_at_ns:
            raise MeteringUnavailable(self._problem)
        try:
            self._open_segment()
        except OSError as failure:
            raise self._failed(failure) from failure
        self._problem = ""
        self._recount()

    def _open_segment(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        count, total = self._take_census()
        if total + self._segment_bytes > self._max_total_bytes and self._removable:
            self._remove_relayed(total + self._segment_bytes - self._max_total_bytes)
            count, total = self._take_census()
        if total + self._segment_bytes > self._max_total_bytes:
            remedy = "archive and remove old segments" if self._relayed is None else "let the relay catch up"
            raise self._refused(
                f"it holds {total} of at most {self._max_total_bytes} bytes; {remedy}, or raise max_total_bytes "
                "(METERING_MAX_BYTES)"
            )
        self._last_stamp = max(self._clock.now(), self._last_stamp + timedelta(microseconds=1))
        self._segments.append(self._create_segment(self._directory, self._last_stamp, self._segment_bytes))
        self._census = (count + 1, total + self._segment_bytes)

    def _take_census(self) -> tuple[int, int]:
        count = total = removable = 0
        relayed = self._relayed(self._directory) if self._relayed is not None else ()
        with suppress(FileNotFoundError):
            total = (self._directory / POISON).stat().st_size
        for path in list_segments(self._directory):
            with suppress(FileNotFoundError):
                if not self._segments:  # rare enough: at the start, and after trouble
                    with suppress(PermissionError):
                        reclaim(path)
                size = path.stat().st_size
                total += size
                count += 1
                removable += size if path.name in relayed else 0
        self._census, self._removable = (count, total), removable
        return self._census

    def _remove_relayed(self, needed: int) -> None:
        relayed = self._relayed(self._directory) if self._relayed is not None else ()
        for path in list_segments(self._directory):
            if needed <= 0:
                break
            if path.name in relayed:
                with suppress(FileNotFoundError):
                    size = path.stat().st_size
                    needed -= size if remove(path) else 0

    def _abandon(self, segment: Segment) -> None:
        """Fill this segment no further: it is full, or broken."""
        if segment in self._segments:
            self._segments.remove(segment)
            self._retire(segment)
            self._recount()

    def _retire(self, segment: Segment) -> None:
        if self._commits is not None:
            self._commits.retire(segment)
            return
        with suppress(OSError):  # its lines are kept; the tail is reclaimed by the next process
            segment.seal()

    def _recount(self) -> None:
        # A spare segment may end in waste shorter than a line, so it counts in whole lines; the one being filled does
        # so by itself, because the promises are whole lines.
        spare_lines = max(len(self._segments) - 1, 0) * (self._segment_bytes // MAX_LINE_BYTES)
        room = self._segments[0].room if self._segments else 0
        self._unclaimed = room + (spare_lines - self._admitted) * MAX_LINE_BYTES

    def _try_again(self) -> None:
        with suppress(MeteringUnavailable):
            self._make_room()

    def _failed(self, failure: OSError) -> MeteringUnavailable:
        code = failure.errno or 0
        return self._refused(_REMEDIES.get(code, f"{errno.errorcode.get(code, 'unknown error')}; check the disk"))

    def _refused(self, why: str) -> MeteringUnavailable:
        self._problem = f"Metering cannot write to {self._directory}: {why}"
        self._retry_at_ns = self._clock.monotonic_ns() + _RETRY_NS
        return MeteringUnavailable(self._problem)
