"""Sessions of one process, the least recently used first."""

from collections import OrderedDict

from stoa.application.ports import Clock, SessionStore
from stoa.application.ports.session_store import Change
from stoa.domain.errors import SessionsFull
from stoa.domain.session import Session

IDLE_SECONDS = 1800.0
CAPACITY = 10_000
PER_IDENTITY = 1000
"""A tenth of all: an agent that runs many times over has room, and ten callers are needed to fill the store."""


class InMemorySessionStore(SessionStore):
    def __init__(
        self,
        clock: Clock,
        *,
        idle_seconds: float = IDLE_SECONDS,
        capacity: int = CAPACITY,
        per_identity: int = PER_IDENTITY,
    ) -> None:
        self._clock = clock
        self._idle_ns = round(idle_seconds * 1e9)
        self._capacity = capacity
        self._per_identity = per_identity
        self._sessions: OrderedDict[str, tuple[Session, int]] = OrderedDict()
        self._by_identity: dict[str, OrderedDict[str, None]] = {}

    async def create(self, session: Session) -> None:
        self._expire()
        own = self._by_identity.get(session.identity_key, ())
        if len(own) >= self._per_identity:
            self._drop(next(iter(own)))
        if len(self._sessions) >= self._capacity:
            raise SessionsFull
        self._sessions[session.id] = (session, self._clock.monotonic_ns())
        self._by_identity.setdefault(session.identity_key, OrderedDict())[session.id] = None

    async def find(self, session_id: str) -> Session | None:
        self._expire()
        known = self._sessions.get(session_id)
        if known is None:
            return None
        self._sessions[session_id] = (known[0], self._clock.monotonic_ns())
        self._sessions.move_to_end(session_id)
        self._by_identity[known[0].identity_key].move_to_end(session_id)
        return known[0]

    async def update(self, session_id: str, change: Change) -> None:
        self._expire()
        known = self._sessions.get(session_id)
        if known is not None:
            self._sessions[session_id] = (change(known[0]), known[1])

    async def delete(self, session_id: str) -> None:
        if session_id in self._sessions:
            self._drop(session_id)

    def _drop(self, session_id: str) -> None:
        session, _ = self._sessions.pop(session_id)
        own = self._by_identity[session.identity_key]
        del own[session_id]
        if not own:
            del self._by_identity[session.identity_key]

    def _expire(self) -> None:
        oldest_allowed = self._clock.monotonic_ns() - self._idle_ns
        while self._sessions:
            session_id, (_, used_ns) = next(iter(self._sessions.items()))
            if used_ns > oldest_allowed:
                return
            self._drop(session_id)
