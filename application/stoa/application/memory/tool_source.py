"""Manifests held in memory: filled by `Gateway.add_manifest`, and by tests that change a watched source."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from stoa.application.memory.change_notices import ChangeNotices
from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.domain.access.identity import TenantId
from stoa.domain.origin import NamedOrigin, Origin


class InMemoryToolSource(ToolSource):
    def __init__(self) -> None:
        self._documents: dict[Origin, ManifestDocument] = {}
        self._notices = ChangeNotices()

    def put(
        self, origin: str | Origin, content: dict[str, Any] | None, *, problem: str = "", tenant: TenantId | None = None
    ) -> None:
        """Add or replace the manifest of this origin; a text names one by itself. `tenant`: whose team wrote it."""
        place = _origin(origin)
        self._documents[place] = ManifestDocument(place, content, problem, tenant=tenant)
        self._notices.announce()

    def remove(self, origin: str | Origin) -> None:
        self._documents.pop(_origin(origin), None)
        self._notices.announce()

    async def read(self) -> Sequence[ManifestDocument]:
        return [self._documents[origin] for origin in sorted(self._documents, key=str)]

    def changes(self) -> AsyncIterator[None]:
        return self._notices.watch()


def _origin(origin: str | Origin) -> Origin:
    return NamedOrigin(origin) if isinstance(origin, str) else origin
