"""Disk room as arithmetic: what a directory may take, what it takes, and what of a process's segments is spoken for.

Nothing here touches a file. SegmentPool feeds it with what it finds on the disk and acts on its answers.
"""

from dataclasses import dataclass
from typing import NamedTuple

_LEAST_SEGMENTS = 8
"""The room for refused calls holds at least so many segments, so that it is reused in small steps."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the segments of one kind may take of the disk."""

    segment_bytes: int
    max_bytes: int


class Allowances(NamedTuple):
    calls: Allowance
    refusals: Allowance
    summaries: Allowance


def divide_room(segment_bytes: int, max_total_bytes: int, max_refusal_bytes: int, line_bytes: int) -> Allowances:
    """Refused calls get `max_refusal_bytes` in addition to the total, a quarter of it for their summaries.

    `line_bytes` is the greatest length of a line. Raises ValueError where a bound is too small to be of use.
    """
    if segment_bytes < line_bytes:
        raise ValueError(f"segment_bytes is {segment_bytes}; one event may need {line_bytes}")
    if max_total_bytes < segment_bytes:
        raise ValueError(f"max_total_bytes is {max_total_bytes}; one segment needs {segment_bytes} (segment_bytes)")
    least = 2 * _LEAST_SEGMENTS * line_bytes
    if max_refusal_bytes < least:
        raise ValueError(f"max_refusal_bytes is {max_refusal_bytes}; give at least {least}")
    summaries = max_refusal_bytes // 4

    def in_small_segments(max_bytes: int) -> Allowance:
        return Allowance(min(segment_bytes, max(max_bytes // _LEAST_SEGMENTS, line_bytes)), max_bytes)

    return Allowances(
        calls=Allowance(segment_bytes, max_total_bytes),
        refusals=in_small_segments(max_refusal_bytes - summaries),
        summaries=in_small_segments(summaries),
    )


@dataclass(frozen=True, slots=True)
class Census:
    """What the segments of one kind took of the disk when the directory was last read, of all processes."""

    segments: int = 0
    used_bytes: int = 0
    """Unused ends included: they are allocated."""
    removable_bytes: int = 0
    """Of these, what stands in segments whose events are all elsewhere."""

    @property
    def kept_bytes(self) -> int:
        """What must not be deleted yet."""
        return self.used_bytes - self.removable_bytes

    def excess_bytes(self, allowance: Allowance) -> int:
        """By how much a further segment would pass the allowance; zero or less: it fits."""
        return self.used_bytes + allowance.segment_bytes - allowance.max_bytes

    def with_segment(self, size: int) -> "Census":
        return Census(self.segments + 1, self.used_bytes + size, self.removable_bytes)


class RoomLedger:
    """The room in one process's own segments. Laws:

    - While no segment is lost, every promised line fits, however the other lines fell into the segments: room is
      given out in whole lines of the greatest length, and a segment's end that is shorter than that counts for nothing.
    - A promise is redeemed by at most one line. A line without one gets only room that is not promised.
    - `recount` depends on the segments and the promises alone, so an error in a file cannot leave a drift behind.
    """

    __slots__ = ("_free_bytes", "_line_bytes", "_lines_per_segment", "_promised_lines")

    def __init__(self, segment_bytes: int, line_bytes: int) -> None:
        self._line_bytes = line_bytes
        self._lines_per_segment = segment_bytes // line_bytes
        self._promised_lines = 0
        self._free_bytes = 0
        """Bytes that neither a line nor a promise holds; below zero after a segment with promised room was lost."""

    @property
    def has_room(self) -> bool:
        """One more line fits without a further segment."""
        return self._free_bytes >= self._line_bytes

    def promise(self) -> bool:
        """Promise room for one line. False: a further segment is needed first."""
        if self._free_bytes < self._line_bytes:
            return False
        self._free_bytes -= self._line_bytes
        self._promised_lines += 1
        return True

    def begin_line(self, *, is_promised: bool) -> bool:
        """Make sure of room for the line that is written next, redeeming a promise where there is one. False: a further
        segment is needed first."""
        if is_promised and self._promised_lines:
            self._promised_lines -= 1
            self._free_bytes += self._line_bytes
            return True
        return self._free_bytes >= self._line_bytes

    def end_line(self, size: int) -> None:
        """`size` bytes were written to the segment being filled."""
        self._free_bytes -= size

    def recount(self, room_bytes: int, spare_segments: int) -> None:
        """`room_bytes` are left in the segment being filled, and `spare_segments` are empty."""
        # A spare segment may end in waste shorter than a line, so it counts in whole lines; the one being filled does
        # so by itself, because the promises are whole lines.
        lines = spare_segments * self._lines_per_segment - self._promised_lines
        self._free_bytes = room_bytes + lines * self._line_bytes
