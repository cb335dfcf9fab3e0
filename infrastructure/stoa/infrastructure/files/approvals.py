"""Approvals as empty files, which the processes of one machine share: FOLDER / KEY."""

import asyncio
from pathlib import Path

from stoa.application.ports import Approvals
from stoa.domain.errors import SharedStateUnavailable


class FileApprovals(Approvals):
    """Keeps approvals in `folder`, which is created with mode 0700 if it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def add(self, key: str) -> None:
        file = self._file(key)
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True, mode=0o700)
            await asyncio.to_thread(file.touch, mode=0o600)
        except OSError as caught:
            raise SharedStateUnavailable from caught

    async def has(self, key: str) -> bool:
        try:
            return await asyncio.to_thread(self._file(key).exists)
        except OSError as caught:
            raise SharedStateUnavailable from caught

    def _file(self, key: str) -> Path:
        if not (key.isascii() and key.isalnum()):
            raise ValueError("a key is letters and digits")
        return self._folder / key
