"""Reads the sources that give operations without manifests; a source that cannot be read keeps what it gave last."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stoa.application.concurrency.supervisor import ReportDefect
from stoa.application.manifests.understand import affordable
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.operation_source import OperationSnapshot, OperationSource
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.finding import Finding, error
from stoa.domain.operations.operation import Fingerprint, Operation
from stoa.domain.origin import NamedOrigin


@dataclass(frozen=True, slots=True)
class _Given:
    """The last answer of one source, with its schemas compiled."""

    snapshot: OperationSnapshot
    parts: tuple[Operation | Finding, ...]
    """For each operation of the snapshot, itself, or why its schemas cost too much."""

    def operations(self) -> Iterator[Operation]:
        return (part for part in self.parts if isinstance(part, Operation))

    def findings(self) -> Iterator[Finding]:
        yield from self.snapshot.findings
        yield from (part for part in self.parts if isinstance(part, Finding))

    def by_fingerprint(self) -> dict[Fingerprint, Operation | Finding]:
        pairs = zip(self.snapshot.operations, self.parts, strict=True)
        return {operation.fingerprint: part for operation, part in pairs}


class OperationSources:
    """All sources, read one by one. `all`: they themselves."""

    def __init__(self, sources: Sequence[OperationSource], executor: BoundedExecutor, report: ReportDefect) -> None:
        """Raises InvalidInput when two sources have one name: their findings could not be told apart."""
        self.all = tuple(sources)
        self._executor = executor
        self._report_defect = report
        self._given: dict[str, _Given] = {}
        self._refused: dict[str, tuple[OperationSnapshot, str]] = {}
        """Snapshots that took all that the executor allows, and why; an equal one is not tried again."""
        self.has_outage = False
        """A source could not be read the last time, and should be tried again soon."""
        repeated = [name for name, count in Counter(source.name for source in sources).items() if count > 1]
        if repeated:
            raise InvalidInput(f"operation sources: each needs a name of its own, found {', '.join(repeated)} twice")

    async def refresh(self, retry: str) -> list[Finding]:
        """Read every source; returns the findings about each. `retry`: when one that failed is tried again."""
        findings: list[Finding] = []
        self.has_outage = False
        for source in self.all:
            origin = NamedOrigin(source.name)
            try:
                self._given = {**self._given, source.name: await self._read(source)}
            except InvalidInput as refused:
                findings.append(error(source.name, refused.message, origin))
            except Exception as failure:  # noqa: BLE001  # a defect in one source must not keep the others back
                self.has_outage = True
                findings.append(error(source.name, f"{self._reason(failure)}; {retry}", origin))
            if given := self._given.get(source.name):
                findings += (finding.about(origin) for finding in given.findings())
        return findings

    def operations(self) -> Iterator[tuple[Operation, NamedOrigin]]:
        """Each operation in use, with its origin."""
        for name, given in self._given.items():
            origin = NamedOrigin(name)
            yield from ((operation, origin) for operation in given.operations())

    async def _read(self, source: OperationSource) -> _Given:
        snapshot = await source.snapshot()
        refused = self._refused.pop(source.name, None)
        if refused is not None and refused[0] == snapshot:
            self._refused[source.name] = refused
            raise InvalidInput(refused[1])
        before = self._given.get(source.name)
        checked = {} if before is None else before.by_fingerprint()
        # Others may have written the schemas, so what was not compiled before is compiled under limits first.
        fresh = [one for one in snapshot.operations if one.fingerprint not in checked]
        if fresh:
            try:
                parts = await self._executor.run(affordable, fresh)
            except InvalidInput as problem:
                self._refused[source.name] = snapshot, problem.message
                raise
            checked |= {one.fingerprint: part for one, part in zip(fresh, parts, strict=True)}
        return _Given(snapshot, tuple(checked[one.fingerprint] for one in snapshot.operations))

    def _reason(self, failure: Exception) -> str:
        if isinstance(failure, Unavailable):
            return failure.message
        self._report_defect("catalogue", failure)
        return f"an unexpected {type(failure).__name__}, which the log explains"
