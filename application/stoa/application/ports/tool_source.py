"""Provides manifests: from files, Kubernetes, the embedding program."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stoa.domain.access.identity import TenantId
from stoa.domain.origin import Origin


@dataclass(frozen=True, slots=True)
class ManifestDocument:
    """One manifest as it was read, not yet parsed into operations."""

    origin: Origin
    """Its identity, which stays when the manifest changes. Manifests with the same `origin.whole` are replaced
    together: when one of them is bad, all keep their last good version."""
    content: dict[str, Any] | None
    """None: it could not be read; `problem` gives the reason."""
    problem: str = ""
    base_directory: str = ""
    """Relative file names in the manifest start here."""
    root: str = ""
    """The folder that files named in the manifest must lie below; empty: anywhere, as for the embedding program."""
    tenant: TenantId | None = None
    """The tenant whose team writes in this place: the manifest can be of no other, and not global. None: the platform
    writes here."""


class ToolSource(Protocol):
    """Laws: `read` gives every manifest that exists now, in the order of their origins, and never raises for a bad
    one: it comes as a document with a problem. `changes` yields after something may have changed, bursts folded into
    one; a change that happened after `changes` was called is never missed."""

    @abstractmethod
    async def read(self) -> Sequence[ManifestDocument]: ...

    @abstractmethod
    def changes(self) -> AsyncIterator[None]: ...
