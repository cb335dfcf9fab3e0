"""Manifests held in memory: what `Gateway.add_manifest` fills, and what tests change while somebody watches."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.domain.access.identity import TenantId


class InMemoryToolSource(ToolSource):
    def __init__(self) -> None:
        self._documents: dict[str, ManifestDocument] = {}
        self._watchers: list[asyncio.Event] = []

    def put(
        self, origin: str, content: dict[str, Any] | None, *, problem: str = "", tenant: TenantId | None = None
    ) -> None:
        """Add or replace the manifest of this origin. `tenant`: whose team wrote it."""
        self._documents[origin] = ManifestDocument(origin, content, problem, tenant=tenant)
        self._announce()

    def remove(self, origin: str) -> None:
        self._documents.pop(origin, None)
        self._announce()

    def _announce(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    async def read(self) -> Sequence[ManifestDocument]:
        return [self._documents[origin] for origin in sorted(self._documents)]

    def changes(self) -> AsyncIterator[None]:
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
