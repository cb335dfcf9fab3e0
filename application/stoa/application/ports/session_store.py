"""Where sessions of the handshake era are kept."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

from stoa.domain.calls.session import Session

Change = Callable[[Session], Session]


class SessionStore(Protocol):
    """Laws: what was created is found until it is deleted or was not used for the idle time; each `find` is a use. What
    is gone stays gone: `update` does not bring it back. No change is lost, whoever else changes the session meanwhile.
    All replicas that share the store see the same sessions.

    There is an upper limit to the sessions of an identity, a tenant and all (`stoa.domain.access.fair_share`); those
    that
    expired do not count. One session more takes the place of the least recently used one of the identity, then of the
    tenant, and when all are used up, of the tenant that holds most. So no tenant keeps another from opening sessions,
    and who forgets to end sessions locks nobody out. Only more tenants than there are places are refused.

    Raises SharedStateUnavailable when the store cannot be reached.
    """

    @abstractmethod
    async def create(self, session: Session) -> None:
        """Raises SessionsFull."""
        ...

    @abstractmethod
    async def find(self, session_id: str) -> Session | None: ...

    @abstractmethod
    async def update(self, session_id: str, change: Change) -> None:
        """Keep what `change` makes of the session; does nothing when it is gone. `change` may be called several times,
        and leaves the id and the identity as they are."""
        ...

    @abstractmethod
    async def delete(self, session_id: str) -> None: ...
