"""One-time marks of one process; they are forgotten with it."""

from stoa.application.ports import Clock, OneTimeMarks


class InMemoryOneTimeMarks(OneTimeMarks):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken: dict[str, float] = {}

    async def take(self, mark: str, expires_at: float) -> bool:
        now = self._clock.now().timestamp()
        for expired in [expired for expired, end in self._taken.items() if end <= now]:
            del self._taken[expired]
        if mark in self._taken:
            return False
        self._taken[mark] = expires_at
        return True
