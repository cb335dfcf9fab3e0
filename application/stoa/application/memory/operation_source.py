"""Operations held in memory: for a program whose operations come and go, many at a time."""

from collections.abc import AsyncIterator, Iterable

from stoa.application.memory.change_notices import ChangeNotices
from stoa.application.ports.operation_source import OperationSnapshot, OperationSource
from stoa.domain.finding import Finding
from stoa.domain.operations.operation import Operation


class InMemoryOperationSource(OperationSource):
    def __init__(self, name: str, operations: Iterable[Operation] = ()) -> None:
        self.name = name
        self._snapshot = OperationSnapshot(tuple(operations))
        self._notices = ChangeNotices()

    def replace(self, operations: Iterable[Operation], findings: Iterable[Finding] = ()) -> None:
        """Make `operations` all that there is. They are in use after the gateway's next load, which follows at once
        while `gateway.loader.watch` runs."""
        self._snapshot = OperationSnapshot(tuple(operations), tuple(findings))
        self._notices.announce()

    async def snapshot(self) -> OperationSnapshot:
        return self._snapshot

    def changes(self) -> AsyncIterator[None]:
        return self._notices.watch()
