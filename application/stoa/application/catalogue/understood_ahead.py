"""Understands manifests many at a time, before the loader comes to them."""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from stoa.application.catalogue.owners import owned_content
from stoa.application.concurrency.pace import MANY, keep_what_stays
from stoa.application.manifests.parse import ManifestParts, ToolSetManifest
from stoa.application.manifests.understand import understood_each
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.token_counter import TokenCounter
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.operation import Operation
from stoa.domain.origin import Origin
from stoa.domain.schema.json_value import JsonObject

_AT_ONCE = 64
"""Manifests that are understood in one run of the executor: ten thousand runs take as long as the work itself, and
what their results have in common is then held ten thousand times."""
_FEW = 8
"""Manifests that have a run each, which says what is wrong with a refused one."""


class UnderstoodAhead:
    """The manifests of one load that are new, in the order in which `take` asks for them."""

    def __init__(
        self,
        executor: BoundedExecutor,
        parts: ManifestParts,
        documents: Iterable[ManifestDocument],
        tokens: TokenCounter | None = None,
    ) -> None:
        self._tokens = tokens
        self._executor = executor
        self._parts = parts
        self._coming = deque(documents)
        self._one_at_a_time = asyncio.Lock()
        self._are_many = len(self._coming) > MANY
        self._results: dict[Origin, Operation | ToolSetManifest | None] = {}

    async def take(self, document: ManifestDocument) -> Operation | ToolSetManifest | None:
        """The manifest in `document`. None: it is not new, or has to be understood by itself, because it stands among
        few, or together they took more than one run may."""
        async with self._one_at_a_time:
            if self._coming and self._coming[0] is document:
                batch = [self._coming.popleft() for _ in range(min(_AT_ONCE, len(self._coming)))]
                self._results |= await self._together(batch)
                if self._are_many:
                    keep_what_stays()
        return self._results.pop(document.origin, None)

    async def _together(
        self, documents: Iterable[ManifestDocument]
    ) -> dict[Origin, Operation | ToolSetManifest | None]:
        contents: dict[Origin, JsonObject] = {}
        for document in documents:
            with suppress(InvalidInput):  # said when its own turn comes
                contents[document.origin] = owned_content(document)
        if len(contents) <= _FEW:
            return {}
        try:
            results = await self._executor.run(understood_each, list(contents.values()), self._parts, self._tokens)
        except Exception:  # noqa: BLE001  # met again with the one manifest that is to blame
            return {}
        return dict(zip(contents, results, strict=True))
