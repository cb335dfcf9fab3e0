"""Remembers what administrators approved."""

from abc import abstractmethod
from typing import Protocol


class Approvals(Protocol):
    """Laws: once `add` returned, `has` is True for that key in every process that shares the approvals, also after
    a restart where they are kept outside of the process. For any other key it is False.

    Keys are letters and digits. Raises SharedStateUnavailable when the answer cannot be known now.
    """

    @abstractmethod
    async def add(self, key: str) -> None: ...

    @abstractmethod
    async def has(self, key: str) -> bool: ...
