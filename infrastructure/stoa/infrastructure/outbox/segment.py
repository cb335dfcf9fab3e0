"""One file of the outbox: a preallocated run of JSON lines followed by zeros.

A segment is *live* while its writer holds the exclusive flock taken at its creation; the lock is released when the
process ends in any way. A segment is truncated or removed only under that lock. File names sort in the order in which
one writer filled the segments of a kind. OSError passes through: the sink and the log translate it.
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

CALLS = ".jsonl"
REFUSALS = ".refused.jsonl"
SUMMARIES = ".summary.jsonl"
"""Suffixes of segments by their content: calls, refused calls, and summaries of refused calls."""
POISON = "poison.jsonl"
"""File of the events that the relay could not forward. It lies next to the segments but is not one."""
_NO_FALLOCATE = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_ZEROS = bytes(64 * 1024)
_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # not every POSIX system has the cheaper one


class Segment:
    """A live segment, open for appending."""

    __slots__ = ("_descriptor", "_file", "_is_broken", "_is_listed", "_name", "length", "path", "size")

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self._name = str(path)
        self.size = size
        self.length = 0
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self._file = (status.st_dev, status.st_ino)
        self._is_broken = False
        self._is_listed = False

    @classmethod
    def create(cls, directory: Path, stamp: datetime, size: int, suffix: str = CALLS) -> Self:
        """Creates a segment of `size` bytes, all allocated, so that no later write meets a full disk."""
        while True:
            name = f"{stamp:%Y%m%dT%H%M%S.%fZ}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
            path = directory / name
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink == 0:  # another process reclaimed it before it was locked
                    os.close(descriptor)
                    continue
                _allocate(descriptor, size)
            except OSError:
                path.unlink(missing_ok=True)
                os.close(descriptor)
                raise
            return cls(path, descriptor, size)

    @property
    def room(self) -> int:
        return self.size - self.length

    def is_gone(self) -> bool:
        """True if its path no longer leads to it: the file or a folder on the way was removed, renamed or replaced, and
        further lines would not be read. (Checked before every append: 2 µs.)"""
        try:
            there = os.stat(self._name)  # noqa: PTH116  # half the time of Path.stat
            return there.st_ino != self._file[1] or there.st_dev != self._file[0]
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # not known; an append says more

    def orphans(self) -> bytes:
        """The lines of a removed file, which no reader can reach any more. None if it was only moved. Lines that
        another file of its name holds, as after a backup was restored, are left out."""
        if os.fstat(self._descriptor).st_nlink:
            return b""
        lines = os.pread(self._descriptor, self.length, 0)
        try:
            readable = set(self.path.read_bytes().splitlines(keepends=True))
        except OSError:
            return lines
        return b"".join(line for line in lines.splitlines(keepends=True) if line not in readable)

    def append(self, line: bytes) -> None:
        """Writes a line in one system call; the newline comes last, so that readers recognise a line cut off by the
        death of the writer. (Linux looks for a deadly signal between two pages of one write.)"""
        written = os.pwrite(self._descriptor, line, self.length)
        if written != len(line):
            raise OSError(errno.EIO, "short write")
        self.length += written

    def sync(self) -> None:
        """Waits until everything appended, and the file's directory entry, is on the disk.

        The kernel reports a lost page once and then marks it clean, so the segment is not used after one failure.
        """
        if self._is_broken:
            raise OSError(errno.EIO, "an earlier sync failed")
        self._is_broken = True
        _sync_data(self._descriptor)
        if not self._is_listed:
            _sync_directory(self.path.parent)
            self._is_listed = True
        self._is_broken = False

    def seal(self) -> None:
        """Truncates the unused tail and releases the lock; a segment without a line is removed. Nothing is appended
        afterwards."""
        try:
            if self.length:
                os.ftruncate(self._descriptor, self.length)
            elif not self.is_gone():
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)


def list_segments(directory: Path, kind: str | None = None) -> list[Path]:
    """All segments in order, or those of one kind; none if the directory does not exist."""
    try:
        segments = (path for path in directory.iterdir() if path.suffix == CALLS and path.name != POISON)
        return sorted(path for path in segments if kind is None or _kind_of(path.name) == kind)
    except FileNotFoundError:
        return []


def _kind_of(name: str) -> str:
    return next((kind for kind in (REFUSALS, SUMMARIES) if name.endswith(kind)), CALLS)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some lines of one segment, without their newlines."""

    lines: list[bytes]
    end: int
    """Offset after these lines."""
    is_last: bool
    """True if the writer is gone and nothing follows."""


def read_piece(path: Path, start: int = 0, max_bytes: int | None = None) -> Piece:
    """The lines after `start`, which is 0 or the end of an earlier reading.

    A line counts when its newline is there: without one its writer died, or is, in the middle of recording it, and its
    call has not been answered. A live segment ends at its first zero byte. In a segment whose writer is gone a power
    loss may have left zeros anywhere, and the lines after them are read. `max_bytes` must exceed the length of a line;
    a line that it cuts is left for the next reading. None: everything.
    """
    with path.open("rb") as file:
        if 0 < os.fstat(file.fileno()).st_size <= start:  # sealed, and read to its end: the usual case
            return Piece([], start, is_last=True)
        is_live = not _try_lock(
            file.fileno(), fcntl.LOCK_SH
        )  # checked before reading, because it may be sealed during it
        size, offset = os.fstat(file.fileno()).st_size, start
        length = max(size - start, 0) if max_bytes is None else max_bytes
        while True:
            data = os.pread(file.fileno(), length, offset)
            is_end = offset + len(data) >= size
            if is_live or is_end or data.strip(b"\0"):
                break
            offset += len(data)  # a hole, or the tail that a dead writer left
    if is_live:
        end = data.find(b"\0")
        data = data if end < 0 else data[:end]
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].split(b"\n")[:-1]
    if is_end and not is_live:
        # A file without a byte may be one that its writer has made and not locked yet.
        return Piece(lines, size, is_last=size > 0)
    if not whole and not is_live:
        return Piece([data], offset + len(data), is_last=False)  # longer than any line of ours
    return Piece(lines, offset + whole, is_last=False)


def waiting_bytes(path: Path, offset: int) -> int:
    """Bytes written after `offset`. A line has no zero byte, so the start of an unused tail is found by bisection."""
    with path.open("rb") as file:
        low, high = offset, os.fstat(file.fileno()).st_size
        if high > low and os.pread(file.fileno(), 1, high - 1) != b"\0":
            return high - low
        while low < high:
            middle = (low + high) // 2
            if os.pread(file.fileno(), 1, middle) in {b"\0", b""}:
                high = middle
            else:
                low = middle + 1
        return max(low - offset, 0)


def remove(path: Path) -> bool:
    """Deletes a segment unless it is live. False: it was kept."""
    with suppress(FileNotFoundError), path.open("r+b") as file:
        if not _try_lock(file.fileno(), fcntl.LOCK_EX):
            return False
        path.unlink()
    return True


def reclaim(path: Path) -> None:
    """Truncates the unused tail of a segment whose writer died; a live segment is left alone."""
    with suppress(FileNotFoundError), path.open("r+b") as file:
        if not _try_lock(file.fileno(), fcntl.LOCK_EX):
            return
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\0":
                return
            file.seek(0)
            size = len(file.read().rstrip(b"\0"))
            file.truncate(size)
        if not size:
            path.unlink()


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as failure:
            if failure.errno not in _NO_FALLOCATE:
                raise
        else:
            return
    for offset in range(0, size, len(_ZEROS)):
        os.pwrite(descriptor, _ZEROS[: size - offset], offset)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
