"""Where sessions of the handshake era are kept."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

from stoa.domain.session import Session

Change = Callable[[Session], Session]


class SessionStore(Protocol):
    """Laws: what was created is found until it is deleted or was not used for the idle time; each `find` is a use. What
    is gone stays gone: `update` does not bring it back. No change is lost, whoever else changes the session meanwhile.
    All replicas that share the store see the same sessions.

    There is an upper limit to the number of sessions; those that expired do not count. There is one for each identity
    too, far below: one session more takes the place of that identity's least recently used one, so that nobody uses up
    what is everybody's, and nobody who forgets to end sessions locks himself out.

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
