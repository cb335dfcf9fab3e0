"""Where manifests come from: files, Kubernetes, the embedding program."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stoa.domain.access.identity import TenantId
from stoa.domain.origin import Origin


@dataclass(frozen=True, slots=True)
class ManifestDocument:
    """One manifest as it was found, not yet understood."""

    origin: Origin
    """Its identity, which stays when the manifest changes. Manifests with the same `origin.whole` are replaced
    together: when one of them is bad, all keep their last good version."""
    content: dict[str, Any] | None
    """None: could not be read; `problem` says why."""
    problem: str = ""
    base_directory: str = ""
    """Relative file names in the manifest start here."""
    root: str = ""
    """Files that the manifest names must lie below this folder; empty: anywhere, as the embedding program's may."""
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
