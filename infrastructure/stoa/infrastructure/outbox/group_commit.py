"""Group commit: concurrent writers share one wait for the disk."""

import asyncio
from contextlib import suppress

from stoa.infrastructure.outbox.segment import Segment


class GroupCommit:
    """Runs one sync at a time, in a thread; a run covers everything appended before it starts.

    Raises OSError, to every caller that shared the run, if the disk failed.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._dirty: list[Segment] = []
        self._retired: list[Segment] = []
        self._next: asyncio.Task[None] | None = None
        """The next run, which has not started to sync and so covers lines appended now."""

    def retire(self, segment: Segment) -> None:
        """Seals the segment in the next run, after its last lines are on the disk."""
        self._retired.append(segment)

    async def cover(self, segment: Segment) -> None:
        """Returns once everything appended to `segment` so far is on the disk. Cancelling the wait stops no sync."""
        if segment not in self._dirty:
            self._dirty.append(segment)
        await self.run()

    async def run(self) -> None:
        if self._next is None or self._next.done():  # done: it ended before it had begun
            self._next = asyncio.create_task(self._run())
        await asyncio.shield(self._next)

    async def _run(self) -> None:
        async with self._turn:
            self._next = None
            dirty, self._dirty = self._dirty, []
            retired, self._retired = self._retired, []
            await asyncio.to_thread(_sync, dirty, retired)


def _sync(dirty: list[Segment], retired: list[Segment]) -> None:
    try:
        for segment in dirty:
            segment.sync()
    finally:
        for segment in retired:
            with suppress(OSError):  # its lines are kept; the tail is reclaimed by the next process
                segment.seal()
