"""What may be used once, and was."""

from abc import abstractmethod
from typing import Protocol


class OneTimeMarks(Protocol):
    """Laws: of all calls of `take` with one mark, by whichever process that shares the marks, exactly one returns True
    before `expires_at`. A mark is remembered until then; afterwards nobody may rely on it, and it takes no room.

    Raises SharedStateUnavailable when that cannot be said now.
    """

    @abstractmethod
    async def take(self, mark: str, expires_at: float) -> bool:
        """`mark`: letters and digits. `expires_at`: seconds since 1970, the same each time."""
        ...
