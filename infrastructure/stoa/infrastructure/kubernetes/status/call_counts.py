"""Counts the calls of the operations that manifests gave, for their status."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stoa.application.concurrency.pace import in_turns
from stoa.application.ports.catalogue_observer import ManifestReport
from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.metering.event import Status
from stoa.domain.operations.operation import Kind, Operation
from stoa.domain.origin import ObjectOrigin

_FAILED = frozenset({Status.ERROR, Status.TIMEOUT})
_COUNTED = frozenset({Status.SUCCESS, Status.CANCELLED}) | _FAILED
"""Calls that a back end was asked for; refused ones are none of the manifest's."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Finished calls, and those among them that failed."""

    invocations: int = 0
    errors: int = 0


_Name = tuple[TenantId | None, Kind, str]
_ONE, _ONE_FAILED = Calls(1, 0), Calls(1, 1)


class CallCounts(InvocationObserver):
    """Finished calls by manifest, since they were last taken."""

    def __init__(self) -> None:
        self._origins: dict[_Name, ObjectOrigin] = {}
        self._operations: dict[ObjectOrigin, tuple[Operation, ...]] = {}
        self._calls: dict[ObjectOrigin, list[int]] = {}

    async def follow(self, reports: Collection[ManifestReport]) -> None:
        """Count the calls of these manifests' operations from now on, and forget those of manifests that are gone.
        A manifest whose report has the same tuple of operations as before costs nothing."""
        present: dict[ObjectOrigin, tuple[Operation, ...]] = {}
        changed: list[ObjectOrigin] = []
        async for report in in_turns(reports):
            origin = report.document.origin
            if isinstance(origin, ObjectOrigin):
                present[origin] = report.operations
                if self._operations.get(origin) is not report.operations:
                    changed.append(origin)
        gone = self._operations.keys() - present.keys()
        async for origin in in_turns((*changed, *gone)):
            names = dict.fromkeys(map(_name, present.get(origin, ())), origin)
            self._origins.update(names)
            for name in map(_name, self._operations.get(origin, ())):
                if name not in names and self._origins.get(name) == origin:  # it may be another manifest's by now
                    del self._origins[name]
        self._operations = present
        self._calls = {origin: calls for origin, calls in self._calls.items() if origin in present}

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        if outcome.status not in _COUNTED or outcome.principal is None or outcome.client_request is not None:
            return
        tenant = invocation.tenant or outcome.principal.tenant
        origin = self._origins.get((tenant, invocation.kind, invocation.name))
        if origin is not None:
            self.add(origin, _ONE_FAILED if outcome.status in _FAILED else _ONE)

    def add(self, origin: ObjectOrigin, more: Calls) -> None:
        calls = self._calls.setdefault(origin, [0, 0])
        calls[0] += more.invocations
        calls[1] += more.errors

    def all_pending(self) -> Mapping[ObjectOrigin, Calls]:
        return {origin: Calls(*calls) for origin, calls in self._calls.items()}

    def pending(self, origin: ObjectOrigin) -> Calls:
        return Calls(*self._calls.get(origin, ()))

    def written(self, origin: ObjectOrigin, calls: Calls) -> None:
        """Take off calls that a status now tells."""
        left = self._calls.get(origin)
        if left is not None:
            left[0] -= calls.invocations
            left[1] -= calls.errors
            if left == [0, 0]:
                del self._calls[origin]


def _name(operation: Operation) -> _Name:
    return operation.tenant, operation.kind, operation.identifier
