"""The newest messages of each session's streams, in this process."""

from collections import OrderedDict, deque

from stoa.application.ports import EventStore, Replay, StoredEvent

MESSAGES = 256
BYTES = 1024 * 1024
TOTAL_BYTES = 64 * 1024 * 1024
SESSIONS = 10_000


class _Log:
    """Of one session."""

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
    """`messages`, `size`: how many messages, and bytes of them, are kept of one session; `total`: bytes of all;
    `sessions`: how many have streams, for nobody tells which expired. The session that is silent for longest gives way
    first."""

    def __init__(
        self, *, messages: int = MESSAGES, size: int = BYTES, total: int = TOTAL_BYTES, sessions: int = SESSIONS
    ) -> None:
        self._messages = messages
        self._size = size
        self._total = total
        self._sessions = sessions
        self._held = 0
        self._logs: OrderedDict[str, _Log] = OrderedDict()

    async def begin(self, session_id: str, stream: str) -> int:
        return self._log(session_id).count.setdefault(stream, 0)

    async def append(self, session_id: str, stream: str, message: bytes, *, is_last: bool = False) -> int:
        log = self._log(session_id)
        number = log.count[stream] = log.count.get(stream, 0) + 1
        if is_last:
            log.over.add(stream)
        log.events.append((stream, StoredEvent(number, message)))
        before, log.size = log.size, log.size + len(message)
        while len(log.events) > self._messages or log.size > self._size:
            log.drop_oldest()
        self._held += log.size - before
        while self._held > self._total and len(self._logs) > 1:
            self._drop_most_silent()
        return number

    async def replay(self, session_id: str, stream: str, after: int) -> Replay | None:
        log = self._logs.get(session_id)
        last = None if log is None else log.count.get(stream)
        if log is None or last is None or not 0 <= after <= last:
            return None
        events = [event for owner, event in log.events if owner == stream and event.number > after]
        return Replay(events, stream in log.over) if len(events) == last - after else None

    async def forget(self, session_id: str) -> None:
        log = self._logs.pop(session_id, None)
        self._held -= 0 if log is None else log.size

    def _log(self, session_id: str) -> _Log:
        log = self._logs.setdefault(session_id, _Log())
        self._logs.move_to_end(session_id)
        if len(self._logs) > self._sessions:
            self._drop_most_silent()
        return log

    def _drop_most_silent(self) -> None:
        self._held -= self._logs.popitem(last=False)[1].size
