"""A ToolSet without a manifest file: `stoa serve SPEC`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from stoa.application.ports.tool_source import ManifestDocument, ToolSource

_CHECK_SECONDS = 0.5
_CHECK_FOLDER_SECONDS = 2.0
"""Looking at thousands of files takes some 20 ms of computing time."""
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


class FollowedToolSource(ToolSource):
    """One manifest in memory. `file`: the description that it names, whose changes are followed, or the folder with all
    its files; None: it is no file.

    The file is looked at, not watched: editors rename another file over it, and a watch would stay with the old one.
    """

    def __init__(self, manifest: ManifestDocument, file: Path | None = None) -> None:
        self._manifest = manifest
        self._file = file
        self._pause = _CHECK_SECONDS if file is None or not file.is_dir() else _CHECK_FOLDER_SECONDS
        self._seen: object = None

    async def read(self) -> Sequence[ManifestDocument]:
        self._seen = await asyncio.to_thread(self._stamp)
        return [self._manifest]

    async def changes(self) -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(self._pause)
            if await asyncio.to_thread(self._stamp) != self._seen:
                yield

    def _stamp(self) -> object:
        if self._file is None:
            return None
        if self._file.is_dir():
            files = (path for path in self._file.rglob("*") if path.suffix.lower() in _SUFFIXES)
            return {path: _stamp_of(path) for path in files}
        return _stamp_of(self._file)


def _stamp_of(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None  # away: the loader says so, and keeps the last good version
    return status.st_mtime_ns, status.st_size
