"""Rate limits shared by all replicas, in Redis.

    PREFIX limit:KEY         the state of one limit as `stoa.domain.access.rate_limit` defines it: one integer, in
    microseconds
                             of the server's clock; dropped by the server once it means nothing any more
    PREFIX limit-of:DIGEST   the same for a KEY that is long: keys hold names that callers choose

One script checks all limit charges of a call atomically in one round trip. `judge` then derives the verdict here from
the same numbers. Calls that arrive during a request to Redis go together with the next one, so that one connection
suffices for all of them, and a hanging store makes them wait only once.
"""

import asyncio
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.clock import Clock
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict, judge, remaining
from stoa.domain.errors import LimiterUnavailable, SharedStateUnavailable
from stoa.infrastructure.redis.connection import Argument, RedisConnection

_AWAY = "The rate limits cannot be counted at the moment"
_TOGETHER = 64
"""Upper bound on the calls in one request, during which the server does nothing else."""
_MOST_KNOWN = 10_000
"""Upper bound on the keys whose state is cached in this process."""
_LONGEST_KEY = 200
"""Upper bound on a key in bytes; longer ones are stored under their digest."""

# For each call its moment (or nothing), how many charges it has, and of each charge the key, the cost in microseconds
# and the capacity. Answers the moment of each call and the states before it; `judge` comes to the same result. Numbers
# are doubles here: exact below 2^53, which microseconds reach in the year 2255. The text form of a large one would be
# rounded.
_TAKE = """
local time = redis.call('TIME')
time = time[1] * 1000000 + time[2]
local answer, at = {}, 2
while ARGV[at] do
  local given, first, ends, has_room = tonumber(ARGV[at]), at + 2, {}, true
  local now, last = given or time, at + 3 * ARGV[at + 1]
  answer[#answer + 1] = now
  for i = first, last, 3 do
    local arrival = tonumber(redis.call('GET', ARGV[1] .. ARGV[i]) or 0)
    answer[#answer + 1] = arrival
    ends[i] = math.max(now, arrival) + ARGV[i + 1]
    if ends[i] > now + ARGV[i + 2] then has_room = false end
  end
  for i = first, has_room and last or 0, 3 do
    local kept_for = given and 3600000 or math.ceil((ends[i] - now) / 1000) + 1
    redis.call('SET', ARGV[1] .. ARGV[i], string.format('%.0f', ends[i]), 'PX', string.format('%.0f', kept_for))
  end
  at = last + 2
end
return answer
"""

_PEEK = """
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local answer = {now}
for i = 3, #ARGV do
  answer[#answer + 1] = tonumber(redis.call('GET', ARGV[1] .. ARGV[i]) or 0)
end
return answer
"""


@dataclass(slots=True)
class _Waiting:
    """A call that waits for its verdict."""

    charges: Sequence[LimitCharge]
    since_us: int
    verdict: asyncio.Future[LimitVerdict]


class RedisRateLimiter(RateLimiter):
    """Counts limits in Redis. `clock` measures how long a refusal is cached. Calls are counted by the clock of the
    server, which all replicas share; `decides` counts by `clock` instead, for tests and simulations: all replicas must
    share it then, and keys stay for an hour.
    """

    def __init__(
        self, redis: RedisConnection, clock: Clock, *, decides: bool = False, report: ReportDefect = log_defect
    ) -> None:
        self._redis = redis
        self._report = report
        self._clock = clock
        self._decides = decides
        self._waiting: deque[_Waiting] = deque()
        self._trips: asyncio.Task[None] | None = None
        self._take, self._peek = redis.script(_TAKE), redis.script(_PEEK)
        # By the local clock. A state never moves back, so a cached one is never later than the server's; and the
        # server's time is placed as early as possible, at the moment when the request left.
        self._arrivals: dict[str, int] = {}

    def refusal(self, charges: Sequence[LimitCharge]) -> LimitVerdict | None:
        find = self._arrivals.get
        _, verdict = judge(charges, [find(charge.key, 0) for charge in charges], self._now_us())
        return None if verdict.is_allowed else verdict

    async def take(self, charges: Sequence[LimitCharge]) -> LimitVerdict:
        if not charges:
            return LimitVerdict(is_allowed=True, charge=None)
        waiting = _Waiting(charges, self._now_us(), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._trips is None:
            self._trips = asyncio.create_task(self._travel())
        return await waiting.verdict

    async def peek(self, charges: Sequence[LimitCharge]) -> tuple[int, ...]:
        moment = self._now_us() if self._decides else ""
        with _translated():
            now, *arrivals = await self._redis.run(self._peek, moment, *(_name(charge.key) for charge in charges))
        pairs = zip(charges, arrivals, strict=True)
        return tuple(remaining(charge.limit, arrival, now) for charge, arrival in pairs)

    async def _travel(self) -> None:
        """Sends batches until no call waits."""
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]
                await self._carry(batch)
        except LimiterUnavailable as lost:
            self._fail(batch, lost)
        except Exception as defect:  # noqa: BLE001  # the waiting calls get an error; the next call starts again
            self._report("rate limits", defect)
            self._fail(batch, LimiterUnavailable(_AWAY))
        except BaseException:  # cancelled: the calls that wait must get an answer nevertheless
            self._fail(batch, LimiterUnavailable(_AWAY))
            raise
        finally:
            self._trips = None

    async def _carry(self, batch: Sequence["_Waiting"]) -> None:
        arguments: list[Argument] = []
        for waiting in batch:
            arguments += (waiting.since_us if self._decides else "", len(waiting.charges))
            for charge in waiting.charges:
                limit = charge.limit
                arguments += (_name(charge.key), charge.cost * limit.interval_us, limit.capacity_us)
        left = self._now_us()
        with _translated():
            answer: Iterator[int] = iter(await self._redis.run(self._take, *arguments))
        for waiting in batch:
            now, arrivals = next(answer), list(islice(answer, len(waiting.charges)))
            states, verdict = judge(waiting.charges, arrivals, now)
            self._remember(waiting.charges, states, waiting.since_us if self._decides else left, now)
            if not waiting.verdict.done():
                waiting.verdict.set_result(verdict)

    def _fail(self, batch: Iterable["_Waiting"], lost: LimiterUnavailable) -> None:
        """Fails this batch and the calls queued for the next one, so that these do not wait for the same store
        again."""
        for waiting in (*batch, *self._waiting):
            if not waiting.verdict.done():
                waiting.verdict.set_exception(LimiterUnavailable(lost.message))
        self._waiting.clear()

    def _now_us(self) -> int:
        return self._clock.monotonic_ns() // 1000

    def _remember(self, charges: Sequence[LimitCharge], states: Iterable[int], left: int, now: int) -> None:
        arrivals = self._arrivals
        for charge, state in zip(charges, states, strict=True):
            here = left + state - now
            if here > arrivals.get(charge.key, left):  # answers may overtake each other
                arrivals[charge.key] = here
        if len(arrivals) > _MOST_KNOWN:
            arrivals = {key: arrival for key, arrival in arrivals.items() if arrival > left}
            # A forgotten state only costs a request to the server.
            self._arrivals = arrivals if len(arrivals) <= _MOST_KNOWN // 2 else {}


def _name(key: str) -> bytes:
    name = key.encode("utf-8", "surrogatepass")
    return b"limit:" + name if len(name) <= _LONGEST_KEY else b"limit-of:" + sha256(name).hexdigest().encode()


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except SharedStateUnavailable as lost:
        raise LimiterUnavailable(_AWAY) from lost
