"""Broken disks for the outbox tests."""

import errno
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from stoa.infrastructure.outbox.segment import CALLS, Segment

KIB = 1024


class Disk:
    """Makes segments that fail on demand."""

    def __init__(self) -> None:
        self.created = 0
        self.create_failure: int | None = None
        self.append: Callable[[Segment, bytes], None] = Segment.append
        self.sync: Callable[[Segment], None] = Segment.sync

    def create(self, directory: Path, stamp: datetime, size: int, suffix: str = CALLS) -> Segment:
        self.created += 1
        if self.create_failure is not None:
            raise OSError(self.create_failure, "injected")
        segment = _FaultySegment.create(directory, stamp, size, suffix)
        segment.disk = self
        return segment


class _FaultySegment(Segment):
    disk: Disk

    def append(self, line: bytes) -> None:
        self.disk.append(self, line)

    def sync(self) -> None:
        self.disk.sync(self)


def torn_write(segment: Segment, line: bytes) -> None:
    """Half of the line reaches the disk before it breaks."""
    length = segment.length
    Segment.append(segment, line[: len(line) // 2])
    segment.length = length
    raise OSError(errno.EIO, "injected")
