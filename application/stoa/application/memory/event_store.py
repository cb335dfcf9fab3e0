"""The newest messages of each session's streams, in this process."""

from collections import deque
from collections.abc import Iterable

from stoa.application.memory.session_store import CAPACITY, PER_IDENTITY, PER_TENANT
from stoa.application.ports import EventStore, Replay, StoredEvent
from stoa.domain.access.fair_share import Caps, FairShares, Holder, NoRoom

MESSAGES = 256
BYTES = 1024 * 1024
CALLER_BYTES = 8 * 1024 * 1024
TENANT_BYTES = 16 * 1024 * 1024
TOTAL_BYTES = 64 * 1024 * 1024


class _Log:
    """The stored messages of one session."""

    def __init__(self) -> None:
        self.events: deque[tuple[str, StoredEvent]] = deque()
        self.size = 0
        self.count: dict[str, int] = {}
        self.over: set[str] = set()

    def drop_oldest(self) -> None:
        stream, event = self.events.popleft()
        self.size -= len(event.message)
        if stream in self.over and event.number == self.count[stream]:  # its last message is gone: it may be forgotten
            self.over.discard(stream)
            del self.count[stream]


class InMemoryEventStore(EventStore):
    """Keeps messages in this process. `messages`, `size`: upper bounds on the messages, and their bytes, of one
    session; `per_caller`, `per_tenant`, `total`: upper bounds on bytes; `sessions`: upper bound on sessions with
    streams, because the store does not learn of expired ones."""

    def __init__(
        self,
        *,
        messages: int = MESSAGES,
        size: int = BYTES,
        per_caller: int = CALLER_BYTES,
        per_tenant: int = TENANT_BYTES,
        total: int = TOTAL_BYTES,
        sessions: int = CAPACITY,
    ) -> None:
        self._messages = messages
        self._size = size
        self._bytes: FairShares[str] = FairShares(Caps(per_caller, per_tenant, total))
        self._places: FairShares[str] = FairShares(Caps(PER_IDENTITY, PER_TENANT, sessions))
        self._logs: dict[str, _Log] = {}

    async def begin(self, session_id: str, stream: str, holder: Holder | None = None) -> int:
        return self._log(session_id, holder).count.setdefault(stream, 0)

    async def append(
        self, session_id: str, stream: str, message: bytes, *, is_last: bool = False, holder: Holder | None = None
    ) -> int:
        log = self._log(session_id, holder)
        number = log.count[stream] = log.count.get(stream, 0) + 1
        if is_last:
            log.over.add(stream)
        log.events.append((stream, StoredEvent(number, message)))
        log.size += len(message)
        while len(log.events) > self._messages or log.size > self._size:
            log.drop_oldest()
        if session_id not in self._logs:
            return number
        try:
            self._drop(self._bytes.put(session_id, _holder(session_id, holder), log.size))
        except NoRoom:
            while log.events:
                log.drop_oldest()
            self._bytes.remove(session_id)
        return number

    async def replay(self, session_id: str, stream: str, after: int) -> Replay | None:
        log = self._logs.get(session_id)
        last = None if log is None else log.count.get(stream)
        if log is None or last is None or not 0 <= after <= last:
            return None
        events = [event for owner, event in log.events if owner == stream and event.number > after]
        return Replay(events, stream in log.over) if len(events) == last - after else None

    async def forget(self, session_id: str) -> None:
        self._drop([session_id])

    def _log(self, session_id: str, holder: Holder | None) -> _Log:
        if session_id in self._logs:
            self._places.use(session_id)
            self._bytes.use(session_id)
            return self._logs[session_id]
        try:
            self._drop(self._places.put(session_id, _holder(session_id, holder)))
        except NoRoom:  # more tenants than there are places: nothing is kept of it
            return _Log()
        return self._logs.setdefault(session_id, _Log())

    def _drop(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            self._logs.pop(session_id, None)
            self._bytes.remove(session_id)
            self._places.remove(session_id)


def _holder(session_id: str, holder: Holder | None) -> Holder:
    return holder or Holder(None, session_id)
