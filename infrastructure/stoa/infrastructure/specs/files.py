"""API descriptions in files."""

import asyncio
import stat
from pathlib import Path

from stoa.application.ports import SpecDocument, SpecSource
from stoa.domain.errors import InvalidInput
from stoa.infrastructure.specs.text import MAX_BYTES, document, too_large


class FileSpecSource(SpecSource):
    """Reads in a thread, so that a slow disk does not hold up calls. Relative paths start at `directory`."""

    def __init__(self, directory: Path | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory or Path()
        self._max_bytes = max_bytes

    async def fetch(self, location: str) -> SpecDocument:
        return await asyncio.to_thread(self._read, location)

    def _read(self, location: str) -> SpecDocument:
        try:
            path = self._directory / location
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise InvalidInput(f"{location}: is a directory; name the file in it")
            if not stat.S_ISREG(mode):  # reading a pipe or a device might never end
                raise InvalidInput(f"{location}: is not a regular file")
            with path.open("rb") as file:
                content = file.read(self._max_bytes + 1)
        except FileNotFoundError:
            raise InvalidInput(
                f"{location}: no such file; check the path (in a manifest, relative ones start at its folder)"
            ) from None
        except PermissionError:
            raise InvalidInput(f"{location}: may not be read; give the gateway permission") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise InvalidInput(f"{location!r}: cannot be read as a file; check the path") from error
        if len(content) > self._max_bytes:
            raise too_large(location, self._max_bytes)
        return document(location, content)
