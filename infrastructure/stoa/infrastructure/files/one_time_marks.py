"""One-time marks as empty files: the operating system creates a name only once across processes.

    FOLDER / PERIOD / MARK       PERIOD: the ten minutes in which the mark expires, counted since 1970

They survive the death of the process. The folder of a period is deleted once the period is over.
"""

import asyncio
import os
import shutil
from pathlib import Path

from stoa.application.ports import Clock, OneTimeMarks
from stoa.domain.errors import SharedStateUnavailable

PERIOD_SECONDS = 600


class FileOneTimeMarks(OneTimeMarks):
    """Keeps marks below `folder`, which is created with mode 0700 if it is missing."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    async def take(self, mark: str, expires_at: float) -> bool:
        if not (mark.isascii() and mark.isalnum()):
            raise ValueError("a mark is letters and digits")
        try:
            return await asyncio.to_thread(self._take, mark, int(expires_at // PERIOD_SECONDS))
        except OSError as caught:
            raise SharedStateUnavailable from caught

    def _take(self, mark: str, period: int) -> bool:
        place = self._folder / str(period)
        if not place.exists():
            self._forget_before(int(self._clock.now().timestamp() // PERIOD_SECONDS))
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            os.close(os.open(place / mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _forget_before(self, period: int) -> None:
        if self._folder.is_dir():
            for old in self._folder.iterdir():
                if old.name.isdecimal() and int(old.name) < period:
                    shutil.rmtree(old, ignore_errors=True)
