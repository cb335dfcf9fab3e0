"""SegmentPool: the segments that one process fills with one kind of line, within a bound on all of that kind.

Its RoomLedger says whether a line fits; only when it says no is a further segment allocated. A pool counts, reclaims
and deletes the segments of its own kind and never looks at the others, so that no kind can take the room of another.
"""

import errno
import logging
import sys
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stoa.application.ports.clock import Clock
from stoa.domain.errors import MeteringUnavailable
from stoa.infrastructure.outbox.event_line import MAX_LINE_BYTES
from stoa.infrastructure.outbox.group_commit import GroupCommit
from stoa.infrastructure.outbox.room import Allowance, Census, RoomLedger
from stoa.infrastructure.outbox.segment import POISON, Segment, list_segments, reclaim, remove

_RETRY_NS = 1_000_000_000
_LOSS_SHOWN_NS = 3600 * 1_000_000_000
"""Time for which a loss of segments, removed while the gateway runs, is reported."""

_log = logging.getLogger(__name__)

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "no space is left there; free some or choose another directory"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "not writable; grant access or choose another directory"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "not a directory; remove the file or choose another directory"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "too many open files; raise the limit of open files"),
}

SegmentFactory = Callable[[Path, datetime, int, str], Segment]
"""Creates a segment from directory, time, size in bytes and the file's suffix."""
Relayed = Callable[[Path], Collection[str]]
"""Returns the names of the segments in a directory whose events are all forwarded. May raise OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Directory and bounds of a pool's segments."""

    directory: Path
    suffix: str
    """End of the names of its segments; no other pool's ends so."""
    allowance: Allowance
    setting: str
    """Name of the setting that an operator raises for more room."""
    has_poison: bool = False
    """What the relay could not forward counts towards the allowance."""
    relayed: Relayed | None = None
    create_segment: SegmentFactory = Segment.create


class SegmentPool:
    """Fills segments with lines. `reserve`, `append` and `make_room` raise MeteringUnavailable if no further line
    fits."""

    def __init__(self, options: PoolOptions, clock: Clock, commits: GroupCommit | None) -> None:
        self._options = options
        self._clock = clock
        self._commits = commits
        self._segments: deque[Segment] = deque()
        """The one being filled, then the spare ones."""
        self.room = RoomLedger(options.allowance.segment_bytes, MAX_LINE_BYTES)
        """The room in these segments."""
        self._last_stamp = datetime.min.replace(tzinfo=UTC)
        self.census = Census()
        """What all segments of its kind took when the directory was last looked at, for operators."""
        self._problem = ""
        self._retry_at_ns = 0
        self._orphans: list[bytes] = []
        """Lines of removed segments that still have to be written again."""
        self._loss = ""
        self._lost_at_ns = 0

    @property
    def loss(self) -> str:
        """Reports segments removed lately while the gateway runs; empty if there are none."""
        return self._loss if self._clock.monotonic_ns() - self._lost_at_ns < _LOSS_SHOWN_NS else ""

    @property
    def is_gone(self) -> bool:
        """True if the segment being filled was removed, or lines of removed ones still have to be written again."""
        return bool(self._orphans) or (bool(self._segments) and self._segments[0].is_gone())

    @property
    def problem(self) -> str:
        """The reason why the pool could not grow; empty if it could."""
        return self._problem

    @property
    def has_room(self) -> bool:
        return self.room.has_room

    def reserve(self) -> None:
        """Promise room for one line."""
        while not self.room.promise():
            self._add_segment()

    def append(self, line: bytes, *, is_reserved: bool) -> Segment:
        """Writes a line; `is_reserved`: into the room of one reservation."""
        if self._orphans or (self._segments and self._segments[0].is_gone()):
            self._replace_gone()
        if not self.room.begin_line(is_promised=is_reserved):
            self.make_room()
        segments, size = self._segments, len(line)
        # The usual case of `_segment_for`, without a call.
        segment = segments[0] if segments and segments[0].size - segments[0].length >= size else self._segment_for(size)
        try:
            segment.append(line)
        except OSError:  # once more, in another segment: the event must not depend on one bad file
            self.abandon(segment)
            segment = self._segment_for(size)
            try:
                segment.append(line)
            except OSError as failure:
                self.abandon(segment)
                raise self.failed(failure) from failure
        self.room.end_line(size)
        return segment

    def close(self) -> None:
        """Returns unused space; nothing is appended afterwards."""
        if self.is_gone:
            with suppress(MeteringUnavailable):
                self._replace_gone()
        self._problem = f"Metering to {self._options.directory} is closed"
        self._retry_at_ns = sys.maxsize
        while self._segments:
            self._retire(self._segments.popleft())
        self._recount()

    def abandon(self, segment: Segment) -> None:
        """Stops filling this segment, because it is full or failed."""
        if segment in self._segments:
            self._segments.remove(segment)
            self._retire(segment)
            self._recount()

    def make_room(self) -> None:
        while not self.room.has_room:
            self._add_segment()

    def try_again(self) -> None:
        with suppress(MeteringUnavailable):
            if self.is_gone:
                self._replace_gone()
            self.make_room()

    def failed(self, failure: OSError) -> MeteringUnavailable:
        code = failure.errno or 0
        return self._refused(_REMEDIES.get(code, f"{errno.errorcode.get(code, 'unknown error')}; check the disk"))

    def _replace_gone(self) -> None:
        """Replaces removed segments by new ones, with every line of an answered call that exists nowhere else."""
        gone = [segment for segment in self._segments if segment.is_gone()]
        if gone:
            self._orphans += filter(None, (segment.orphans() for segment in gone))
            for segment in gone:
                self._segments.remove(segment)
                self._retire(segment)
            self._recount()
            saved = sum(lines.count(b"\n") for lines in self._orphans)
            self._loss = (
                f"{self._options.directory}: {len(gone)} segments were removed or moved while they were written to; "
                f"{saved} events are written again to new ones; leave files alone that the gateway has open"
            )
            self._lost_at_ns = self._clock.monotonic_ns()
            _log.error(self._loss)
        while self._orphans:
            lines = self._orphans[0]
            segment = self._segment_for(len(lines))
            try:
                segment.append(lines)
                if self._commits is not None:
                    segment.sync()
            except OSError as failure:
                self.abandon(segment)
                raise self.failed(failure) from failure
            del self._orphans[0]
            self.room.end_line(len(lines))

    def _segment_for(self, size: int) -> Segment:
        if self._segments and self._segments[0].room < size:
            self.abandon(self._segments[0])
        if not self._segments:
            self._add_segment()
        return self._segments[0]

    def _add_segment(self) -> None:
        if self._problem and self._clock.monotonic_ns() < self._retry_at_ns:
            raise MeteringUnavailable(self._problem)
        try:
            self._open_segment()
        except OSError as failure:
            raise self.failed(failure) from failure
        self._problem = ""
        self._recount()

    def _open_segment(self) -> None:
        options, allowance = self._options, self._options.allowance
        options.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        census = self._take_census()
        if census.excess_bytes(allowance) > 0 and census.removable_bytes:
            self._remove_relayed(census.excess_bytes(allowance))
            census = self._take_census()
        if census.excess_bytes(allowance) > 0:
            remedy = "archive and remove old segments" if options.relayed is None else "let the relay catch up"
            raise self._refused(
                f"it holds {census.used_bytes} of at most {allowance.max_bytes} bytes; {remedy}, or raise "
                f"{options.setting}"
            )
        # Strictly increasing: names must sort in the order of filling, also when the clock is set back.
        self._last_stamp = max(self._clock.now(), self._last_stamp + timedelta(microseconds=1))
        made = options.create_segment(options.directory, self._last_stamp, allowance.segment_bytes, options.suffix)
        self._segments.append(made)
        self.census = census.with_segment(allowance.segment_bytes)

    def _own(self) -> list[Path]:
        return list_segments(self._options.directory, self._options.suffix)

    def _relayed(self) -> Collection[str]:
        relayed = self._options.relayed
        return () if relayed is None else relayed(self._options.directory)

    def _take_census(self) -> Census:
        count = total = removable = 0
        relayed = self._relayed()
        if self._options.has_poison:
            with suppress(FileNotFoundError):
                total = (self._options.directory / POISON).stat().st_size
        for path in self._own():
            with suppress(FileNotFoundError):
                if not self._segments:  # rare enough: at the start, and after trouble
                    with suppress(PermissionError):
                        reclaim(path)
                size = path.stat().st_size
                total += size
                count += 1
                removable += size if path.name in relayed else 0
        self.census = Census(count, total, removable)
        return self.census

    def _remove_relayed(self, needed: int) -> None:
        relayed = self._relayed()
        for path in self._own():
            if needed <= 0:
                break
            if path.name in relayed:
                with suppress(FileNotFoundError):
                    size = path.stat().st_size
                    needed -= size if remove(path) else 0

    def _retire(self, segment: Segment) -> None:
        if self._commits is not None:
            self._commits.retire(segment)
            return
        with suppress(OSError):  # its lines are kept; the tail is reclaimed by the next process
            segment.seal()

    def _recount(self) -> None:
        room_bytes = self._segments[0].room if self._segments else 0
        self.room.recount(room_bytes, max(len(self._segments) - 1, 0))

    def _refused(self, why: str) -> MeteringUnavailable:
        self._problem = f"Metering cannot write to {self._options.directory}: {why}"
        self._retry_at_ns = self._clock.monotonic_ns() + _RETRY_NS
        return MeteringUnavailable(self._problem)
