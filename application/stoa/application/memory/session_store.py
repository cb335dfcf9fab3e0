"""Sessions of one process, the least recently used first."""

from collections import OrderedDict

from stoa.application.ports import Clock, SessionStore
from stoa.domain.errors import SessionsFull
from stoa.domain.session import Session

IDLE_SECONDS = 1800.0
CAPACITY = 10_000


class InMemorySessionStore(SessionStore):
    def __init__(self, clock: Clock, *, idle_seconds: float = IDLE_SECONDS, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._idle_ns = round(idle_seconds * 1e9)
        self._capacity = capacity
        self._sessions: OrderedDict[str, tuple[Session, int]] = OrderedDict()

    async def create(self, session: Session) -> None:
        self._expire()
        if len(self._sessions) >= self._capacity:
            raise SessionsFull
        self._sessions[session.id] = (session, self._clock.monotonic_ns())

    async def find(self, session_id: str) -> Session | None:
        self._expire()
        known = self._sessions.get(session_id)
        if known is None:
            return None
        self._sessions[session_id] = (known[0], self._clock.monotonic_ns())
        self._sessions.move_to_end(session_id)
        return known[0]

    async def replace(self, session: Session) -> None:
        known = self._sessions.get(session.id)
        if known is not None:
            self._sessions[session.id] = (session, known[1])

    async def delete(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)

    def _expire(self) -> None:
        oldest_allowed = self._clock.monotonic_ns() - self._idle_ns
        while self._sessions:
            session_id, (_, used_ns) = next(iter(self._sessions.items()))
            if used_ns > oldest_allowed:
                return
            del self._sessions[session_id]
