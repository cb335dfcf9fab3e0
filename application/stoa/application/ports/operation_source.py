"""Operations that come and go without manifests: the registry of a program, the list of another server."""

from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from stoa.domain.finding import Finding
from stoa.domain.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class OperationSnapshot:
    """All operations of a source at one moment."""

    operations: tuple[Operation, ...]
    findings: tuple[Finding, ...] = ()
    """One for each operation that the source left out."""


class OperationSource(Protocol):
    """Gives operations by itself, where a ToolSource gives manifests that describe them.

    Laws: `snapshot` gives every operation that exists now; while nothing changes, equal operations in an equal order.
    `changes` yields after something may have changed, bursts folded into one; a change that happened after `changes`
    was called is never missed. An operation of a tenant that the platform did not write has `is_by_tenant`.

    Its operations stand behind those of the program and of manifests: none takes the place of one of these. Their
    schemas may be foreign; they are compiled first in the BoundedExecutor.
    """

    name: str
    """Unique among the sources, and stable: the origin of its findings."""

    @abstractmethod
    async def snapshot(self) -> OperationSnapshot:
        """Bounded in size and time. Raises Unavailable when it cannot tell now: what it gave last stays in use."""
        ...

    @abstractmethod
    def changes(self) -> AsyncIterator[None]: ...
