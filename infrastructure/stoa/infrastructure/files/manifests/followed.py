"""A ToolSet without a manifest file: `stoa serve SPEC`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from stoa.application.ports.tool_source import ManifestDocument, ToolSource

_CHECK_SECONDS = 0.5


class FollowedToolSource(ToolSource):
    """One manifest in memory. `file`: the description that it names, whose changes are followed; None: it is no file.

    The file is looked at, not watched: editors rename another file over it, and a watch would stay with the old one.
    """

    def __init__(self, manifest: ManifestDocument, file: Path | None = None) -> None:
        self._manifest = manifest
        self._file = file
        self._seen: tuple[int, int] | None = None

    async def read(self) -> Sequence[ManifestDocument]:
        self._seen = await asyncio.to_thread(self._stamp)
        return [self._manifest]

    async def changes(self) -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            if await asyncio.to_thread(self._stamp) != self._seen:
                yield

    def _stamp(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None  # away: the loader says so, and keeps the last good version
        return status.st_mtime_ns, status.st_size
