"""Notices that something changed, for every watcher of an in-memory source; bursts are folded into one."""

import asyncio
from collections.abc import AsyncIterator


class ChangeNotices:
    def __init__(self) -> None:
        self._watchers: list[asyncio.Event] = []

    def announce(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    def watch(self) -> AsyncIterator[None]:
        """Misses no notice from now on, although it is iterated over later."""
        changed = asyncio.Event()
        self._watchers.append(changed)
        return self._follow(changed)

    async def _follow(self, changed: asyncio.Event) -> AsyncIterator[None]:
        try:
            while True:
                await changed.wait()
                changed.clear()
                yield
        finally:
            self._watchers.remove(changed)
