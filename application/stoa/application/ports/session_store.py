"""Where sessions of the handshake era are kept."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.session import Session


class SessionStore(Protocol):
    """Laws: what was created is found until it is deleted or was not used for the idle time; each `find` is a use. What
    is gone stays gone: `replace` does not bring it back. There is an upper limit to the number of sessions; those that
    expired do not count."""

    @abstractmethod
    async def create(self, session: Session) -> None:
        """Raises SessionsFull."""
        ...

    @abstractmethod
    async def find(self, session_id: str) -> Session | None: ...

    @abstractmethod
    async def replace(self, session: Session) -> None:
        """Keep the changed session under its id; does nothing when it is gone."""
        ...

    @abstractmethod
    async def delete(self, session_id: str) -> None: ...
