"""Sessions of one process, the least recently used first."""

from collections import OrderedDict

from stoa.application.ports import Clock, SessionStore
from stoa.application.ports.session_store import Change
from stoa.domain.access.fair_share import Caps, FairShares, NoRoom
from stoa.domain.calls.session import Session
from stoa.domain.errors import SessionsFull

IDLE_SECONDS = 1800.0
CAPACITY = 10_000
PER_TENANT = 5000
PER_IDENTITY = 1000
"""A tenth of all: an agent that runs many times in parallel has room."""


class InMemorySessionStore(SessionStore):
    def __init__(
        self,
        clock: Clock,
        *,
        idle_seconds: float = IDLE_SECONDS,
        capacity: int = CAPACITY,
        per_tenant: int = PER_TENANT,
        per_identity: int = PER_IDENTITY,
    ) -> None:
        self._clock = clock
        self._idle_ns = round(idle_seconds * 1e9)
        self._sessions: OrderedDict[str, tuple[Session, int]] = OrderedDict()
        self._shares: FairShares[str] = FairShares(Caps(per_identity, per_tenant, capacity))

    async def create(self, session: Session) -> None:
        self._expire()
        try:
            gone = self._shares.put(session.id, session.holder)
        except NoRoom as full:
            raise SessionsFull from full
        for session_id in gone:
            del self._sessions[session_id]
        self._sessions[session.id] = (session, self._clock.monotonic_ns())

    async def find(self, session_id: str) -> Session | None:
        self._expire()
        entry = self._sessions.get(session_id)
        if entry is None:
            return None
        self._sessions[session_id] = (entry[0], self._clock.monotonic_ns())
        self._sessions.move_to_end(session_id)
        self._shares.use(session_id)
        return entry[0]

    async def update(self, session_id: str, change: Change) -> None:
        self._expire()
        entry = self._sessions.get(session_id)
        if entry is not None:
            self._sessions[session_id] = (change(entry[0]), entry[1])

    async def delete(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)
        self._shares.remove(session_id)

    def _expire(self) -> None:
        oldest_allowed = self._clock.monotonic_ns() - self._idle_ns
        while self._sessions:
            session_id, (_, used_ns) = next(iter(self._sessions.items()))
            if used_ns > oldest_allowed:
                return
            del self._sessions[session_id]
            self._shares.remove(session_id)
