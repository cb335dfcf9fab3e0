"""Remembers marks that may be used once."""

from abc import abstractmethod
from typing import Protocol


class OneTimeMarks(Protocol):
    """Laws: of all calls of `take` with one mark, in any of the processes that share the marks, exactly one returns
    True before `expires_at`. A mark is remembered until then; afterwards it takes no room, and must not be relied on.

    Raises SharedStateUnavailable when the answer cannot be known now.
    """

    @abstractmethod
    async def take(self, mark: str, expires_at: float) -> bool:
        """Use the mark; False if it was used before. `mark`: letters and digits. `expires_at`: seconds since 1970, the
        same each time."""
        ...
