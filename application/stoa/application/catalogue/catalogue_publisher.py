"""Puts operations in use: those that the program registered, and with each load those of manifests and sources."""

import asyncio
from collections.abc import Callable, Collection, Iterable

from stoa.application.catalogue.catalogue_budget import CatalogueBudget
from stoa.application.catalogue.operation_registry import OperationRegistry, Prepared
from stoa.application.concurrency.pace import Pace, let_go
from stoa.domain.errors import not_found
from stoa.domain.finding import Finding
from stoa.domain.operations.catalogue import resting
from stoa.domain.operations.operation import Operation, OperationKey
from stoa.domain.origin import Origin

OperationsWithOrigins = Callable[[], Iterable[tuple[Operation, Origin]]]
_PAUSE_SECONDS = 0.001
"""Each stretch of work may meet a call once. Of stretches further apart a call meets fewer, while it lasts."""


class CataloguePublisher:
    """Compiles all operations into a catalogue and makes it the registry's, in one step."""

    def __init__(
        self, registry: OperationRegistry, loaded: OperationsWithOrigins, budget: CatalogueBudget | None = None
    ) -> None:
        """`loaded` gives the operations of the present load. They stand behind registered ones of the same key.
        `budget`: what lists may cost; it concerns all tools together."""
        self._budget = budget
        self._registry = registry
        self._loaded = loaded
        self._registered: list[Operation] = []

    def register(self, operations: Iterable[Operation]) -> list[Finding]:
        """Put operations in use that the program made; returns what is wrong with them, or with others beside them."""
        added = tuple(operations)
        self._registered += added
        findings = None if self._budget is not None else self._registry.add(added)
        return self._registry.adopt(self._prepare()) if findings is None else findings

    def unregister(self, keys: Collection[OperationKey]) -> list[Operation]:
        """Undo `register`; returns the operations that go. What was loaded stays, and an operation that stood back for
        one of these takes its place. Raises OperationNotFound for a key that was not registered, and removes nothing
        then."""
        registered = {one.key for one in self._registered}
        for key in keys:
            if key not in registered:
                raise not_found(key.kind, key.name)
        gone = [one for one in self._registered if one.key in keys]
        self._registered = [one for one in self._registered if one.key not in keys]
        self._registry.adopt(self._prepare())
        return gone

    async def publish(self) -> Prepared:
        """Compiles in a thread, swaps in the loop; once more when `register` came in between."""
        while True:
            version = self._registry.version
            # No call waits for its turn while there is no tool yet, as at the start.
            rest = Pace(pause_seconds=_PAUSE_SECONDS) if self._registry.catalogue.tools else lambda: None
            prepared = await asyncio.to_thread(self._prepare, rest)
            if self._registry.version == version:
                self._registry.adopt(prepared)
                await asyncio.to_thread(let_go, prepared.replaced)
                return prepared

    def _prepare(self, rest: Callable[[], None] = lambda: None) -> Prepared:
        """`rest` as in `OperationRegistry.prepare`."""
        operations, origins = list(self._registered), dict[int, Origin]()
        for operation, origin in resting(self._loaded(), rest):
            operations.append(operation)
            origins[id(operation)] = origin
        if self._budget is not None:
            return self._prepared_within(self._budget, operations, origins, rest)
        return self._registry.prepare(operations, rest, lambda operation: origins.get(id(operation)))

    def _prepared_within(
        self,
        budget: CatalogueBudget,
        operations: list[Operation],
        origins: dict[int, Origin],
        rest: Callable[[], None],
    ) -> Prepared:
        shown, findings = budget.applied(operations, rest)
        placed = {id(new): origins.get(id(old)) for old, new in zip(operations, shown, strict=True)}
        prepared = self._registry.prepare(shown, rest, lambda operation: placed.get(id(operation)))
        prepared.findings.extend(findings)
        return prepared
