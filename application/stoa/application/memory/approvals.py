"""Approvals of one process; they are forgotten with it."""

from stoa.application.ports.approvals import Approvals


class InMemoryApprovals(Approvals):
    def __init__(self) -> None:
        self._keys: set[str] = set()

    async def add(self, key: str) -> None:
        self._keys.add(key)

    async def has(self, key: str) -> bool:
        return key in self._keys
