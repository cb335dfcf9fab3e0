"""API descriptions in files."""

import asyncio
import os
import stat
from pathlib import Path

from stoa.application.ports import SpecCredential, SpecDocument, SpecSource
from stoa.domain.errors import InvalidInput
from stoa.infrastructure.documents.spec_text import MAX_BYTES, document, too_large


class FileSpecSource(SpecSource):
    """Reads in a thread, so that a slow disk does not hold up calls. Relative paths start at `directory`.

    Below a `root`, the resolved path is opened part by part without following links, so a link placed there after the
    check leads nowhere.
    """

    def __init__(self, directory: Path | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory or Path()
        self._max_bytes = max_bytes

    async def fetch(
        self,
        location: str,
        *,
        root: str = "",
        credential: SpecCredential | None = None,  # noqa: ARG002  # no servers here
    ) -> SpecDocument:
        return await asyncio.to_thread(self._read, location, root)

    def _read(self, location: str, root: str) -> SpecDocument:
        try:
            path = (self._directory / location).resolve()
            top = (self._directory / root).resolve() if root else Path(path.anchor)
            if not path.is_relative_to(top):
                raise InvalidInput(f"{location}: lies outside the catalogue folder of its manifest; move it in there")
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise InvalidInput(f"{location}: is a directory; name the file in it")
            if not stat.S_ISREG(mode):  # reading a pipe or a device might never end
                raise InvalidInput(f"{location}: is not a regular file")
            with open(_opened(top, path) if root else path, "rb") as file:  # noqa: PTH123  # may be a descriptor
                content = file.read(self._max_bytes + 1)
        except FileNotFoundError:
            raise InvalidInput(
                f"{location}: no such file; check the path (in a manifest, relative ones start at its folder)"
            ) from None
        except PermissionError:
            raise InvalidInput(f"{location}: may not be read; give the gateway permission") from None
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path; links in a circle
            raise InvalidInput(f"{location!r}: cannot be read as a file; check the path") from error
        if len(content) > self._max_bytes:
            raise too_large(location, self._max_bytes)
        return document(location, content)


def _opened(root: Path, path: Path) -> int:
    """Opens a path below `root`, both resolved, and returns its descriptor. Raises OSError if a part has become a link
    since."""
    search = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
    if os.open not in os.supports_dir_fd:  # Windows
        return os.open(path, os.O_RDONLY)
    within = os.open(root, search)
    parts = path.relative_to(root).parts
    for number, part in enumerate(parts, 1):
        how = os.O_RDONLY | os.O_NONBLOCK if number == len(parts) else search
        try:
            inner = os.open(part, how | os.O_NOFOLLOW, dir_fd=within)
        finally:
            os.close(within)
        within = inner
    return within
