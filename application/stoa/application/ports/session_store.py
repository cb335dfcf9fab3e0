"""Stores sessions of the handshake era."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

from stoa.domain.calls.session import Session

Change = Callable[[Session], Session]


class SessionStore(Protocol):
    """Laws: a session is found until it is deleted or was not used for the idle time; each `find` is a use. A session
    that is gone stays gone: `update` does not bring it back. No change is lost, also when several processes change the
    session at once. All replicas that share the store see the same sessions.

    There is an upper limit to the sessions of an identity, a tenant and all (`stoa.domain.access.fair_share`); expired
    ones do not count. One session more takes the place of the least recently used one of the identity, then of the
    tenant, and when all are used up, of the tenant that holds most. So no tenant keeps another from opening sessions,
    and a client that forgets to end its sessions locks no other client out. Creation is refused only when there are
    more tenants than places.

    Raises SharedStateUnavailable when the store cannot be reached.
    """

    @abstractmethod
    async def create(self, session: Session) -> None:
        """Store a new session. Raises SessionsFull."""
        ...

    @abstractmethod
    async def find(self, session_id: str) -> Session | None: ...

    @abstractmethod
    async def update(self, session_id: str, change: Change) -> None:
        """Store the result of `change`; does nothing if the session is gone. `change` may be called several times, and
        must not change the id and the identity."""
        ...

    @abstractmethod
    async def delete(self, session_id: str) -> None: ...
