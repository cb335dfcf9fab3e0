"""Rate limits that all replicas count together, in Redis.

    PREFIX limit:KEY         the state of one limit as `stoa.domain.rate_limit` defines it: one integer, in microseconds
                             of the server's clock; dropped by the server once it means nothing any more
    PREFIX limit-of:DIGEST   the same for a KEY that is long: keys hold names that callers choose

One script judges all claims of a call in one step and one round trip. The verdict is then worked out here by `judge`,
from the same numbers.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from hashlib import sha256

from stoa.application.ports.clock import Clock
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.errors import LimiterUnavailable, SharedStateUnavailable
from stoa.domain.rate_limit import Claim, LimitVerdict, admissible, judge
from stoa.infrastructure.redis.connection import Argument, RedisConnection

_MOST_KNOWN = 10_000
"""Keys whose state is remembered in this process."""
_LONGEST_KEY = 200
"""Bytes; longer ones are kept under their digest."""

# Answers the time and the states before the call; `judge` comes to the same result. Numbers are doubles here: exact
# below 2^53, which microseconds reach in the year 2255. The text form of a large one would be rounded.
_TAKE = """
local now = tonumber(ARGV[2])
local ttl
if now then ttl = 3600000 else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local answer, ends, has_room = {now}, {}, true
for i = 3, #ARGV, 3 do
  local arrival = tonumber(redis.call('GET', ARGV[1] .. ARGV[i]) or 0)
  answer[#answer + 1] = arrival
  ends[i] = math.max(now, arrival) + ARGV[i + 1]
  if ends[i] > now + ARGV[i + 2] then has_room = false end
end
if has_room then
  for i = 3, #ARGV, 3 do
    local kept_for = ttl or math.ceil((ends[i] - now) / 1000) + 1
    redis.call('SET', ARGV[1] .. ARGV[i], string.format('%.0f', ends[i]), 'PX', string.format('%.0f', kept_for))
  end
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


class RedisRateLimiter(RateLimiter):
    """`clock` measures for how long a refusal stays known. Calls are counted by the clock of the server, which all
    replicas share; `decides` makes `clock` decide, for tests and simulations: it has to be the same for all then, and
    keys stay for an hour. Closing it leaves `redis` open.
    """

    def __init__(self, redis: RedisConnection, clock: Clock, *, decides: bool = False) -> None:
        self._redis = redis
        self._clock = clock
        self._decides = decides
        self._take, self._peek = redis.script(_TAKE), redis.script(_PEEK)
        # By the clock here. A state never moves back, so what is known is never later than what the server has; and a
        # moment of the server's is placed as early as it can have been, when the question left.
        self._known: dict[str, int] = {}

    def refusal(self, claims: Sequence[Claim]) -> LimitVerdict | None:
        find = self._known.get
        _, verdict = judge(claims, [find(claim.key, 0) for claim in claims], self._now_us())
        return None if verdict.is_allowed else verdict

    async def take(self, claims: Sequence[Claim]) -> LimitVerdict:
        if not claims:
            return LimitVerdict(is_allowed=True, claim=None)
        left = self._now_us()
        arguments: list[Argument] = [left if self._decides else ""]
        for claim in claims:
            limit = claim.limit
            arguments += (_name(claim.key), claim.cost * limit.interval_us, limit.capacity_us)
        with _translated():
            now, *arrivals = await self._redis.run(self._take, *arguments)
        states, verdict = judge(claims, arrivals, now)
        self._remember(claims, states, left, now)
        return verdict

    async def peek(self, claims: Sequence[Claim]) -> tuple[int, ...]:
        moment = self._now_us() if self._decides else ""
        with _translated():
            now, *arrivals = await self._redis.run(self._peek, moment, *(_name(claim.key) for claim in claims))
        pairs = zip(claims, arrivals, strict=True)
        return tuple(admissible(claim.limit, arrival, now) for claim, arrival in pairs)

    def _now_us(self) -> int:
        return self._clock.monotonic_ns() // 1000

    def _remember(self, claims: Sequence[Claim], states: Iterable[int], left: int, now: int) -> None:
        known = self._known
        for claim, state in zip(claims, states, strict=True):
            here = left + state - now
            if here > known.get(claim.key, left):  # answers may overtake each other
                known[claim.key] = here
        if len(known) > _MOST_KNOWN:
            known = {key: arrival for key, arrival in known.items() if arrival > left}
            # Forgetting costs a question to the server, nothing else.
            self._known = known if len(known) <= _MOST_KNOWN // 2 else {}


def _name(key: str) -> bytes:
    name = key.encode("utf-8", "surrogatepass")
    return b"limit:" + name if len(name) <= _LONGEST_KEY else b"limit-of:" + sha256(name).hexdigest().encode()


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except SharedStateUnavailable as lost:
        raise LimiterUnavailable("The rate limits cannot be counted at the moment") from lost
