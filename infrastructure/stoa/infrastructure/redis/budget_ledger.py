"""Spending in Redis, for all replicas. It is as durable as that Redis.

    PREFIX budget:MONTH:TENANT[:CONSUMER]  hash: `spent`, micro-units; `noticed`, the highest level that was announced
    PREFIX budget-writer:ID                number of the last batch of refunds applied for a process
    PREFIX budget-generation               the generation that every script must name (`budget_recovery.py`)

A reservation is one script. Refunds are summed up by account and sent in the background, one batch at a time; a batch
whose answer was lost is sent again under its number, so that Redis applies it once. Redis drops the keys 75 days after
their last use, which is after their month even if the clocks of the replicas differ.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.memory.clock import SystemClock
from stoa.application.ports.budget_ledger import BudgetLedger, BudgetVerdict
from stoa.application.ports.clock import Clock
from stoa.domain.errors import BudgetUnavailable, SharedStateUnavailable
from stoa.domain.metering.budget import LEVELS, Account, Crossing, crossed, threshold
from stoa.domain.metering.money import MicroUnits
from stoa.infrastructure.redis.budget_recovery import BudgetRecovery, RecordedSpending
from stoa.infrastructure.redis.connection import Argument, RedisConnection

_log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
_KEPT_SECONDS = 75 * 86_400

_LOST = """
if ARGV[2] ~= '' and redis.call('GET', ARGV[1] .. 'budget-generation') ~= ARGV[2] then
  return false
end
"""

# ARGV: prefix, generation, seconds to keep, amount, is a refusal told of; for each account: key, limit, thresholds of
# 80 and 100. Answers: which account refused (0: none), then for each account looked at: noticed before, noticed now,
# spent.
_RESERVE = (
    _LOST
    + """
local prefix, amount, tells = ARGV[1], tonumber(ARGV[4]), ARGV[5] == '1'
local function spent(key)
  return tonumber(redis.call('HGET', key, 'spent') or 0)
end
local function notice(answer, key, reached)
  local before = tonumber(redis.call('HGET', key, 'noticed') or 0)
  if reached > before then
    redis.call('HSET', key, 'noticed', reached)
  end
  redis.call('EXPIRE', key, ARGV[3])
  table.insert(answer, before)
  table.insert(answer, math.max(before, reached))
  table.insert(answer, redis.call('HGET', key, 'spent') or '0')
end
for i = 6, #ARGV, 4 do
  local key = prefix .. ARGV[i]
  if spent(key) + amount > tonumber(ARGV[i + 1]) then
    local answer = {(i - 2) / 4}
    if tells then
      notice(answer, key, 100)
    end
    return answer
  end
end
local answer = {0}
for i = 6, #ARGV, 4 do
  local key = prefix .. ARGV[i]
  redis.call('HINCRBY', key, 'spent', ARGV[4])
  local now, reached = spent(key), 0
  if now >= tonumber(ARGV[i + 3]) then
    reached = 100
  elseif now >= tonumber(ARGV[i + 2]) then
    reached = 80
  end
  notice(answer, key, reached)
end
return answer
"""
)

# ARGV: prefix, writer, number of the batch, seconds to keep it, then for each account: key, amount to give back.
_GIVE_BACK = """
local prefix, number = ARGV[1], tonumber(ARGV[3])
local writer = prefix .. 'budget-writer:' .. ARGV[2]
if tonumber(redis.call('GET', writer) or 0) >= number then
  return 0
end
for i = 5, #ARGV, 2 do
  local key = prefix .. ARGV[i]
  local spent = tonumber(redis.call('HGET', key, 'spent') or 0)
  local back = math.min(spent, tonumber(ARGV[i + 1]))
  if back > 0 then
    redis.call('HINCRBY', key, 'spent', string.format('%.0f', -back))
  end
end
redis.call('SET', writer, number, 'EX', ARGV[4])
return 1
"""

_SPENT = (
    _LOST
    + """
local answer = {}
for i = 3, #ARGV do
  table.insert(answer, redis.call('HGET', ARGV[1] .. ARGV[i], 'spent') or '0')
end
return answer
"""
)


@dataclass(frozen=True, slots=True)
class _Batch:
    number: int
    refunds: dict[str, int]


class RedisBudgetLedger(BudgetLedger):
    """A BudgetLedger on Redis. `retry_seconds`: the pause before refunds are sent again after an outage. Closing it
    leaves `redis` open."""

    def __init__(
        self,
        redis: RedisConnection,
        clock: Clock | None = None,
        *,
        retry_seconds: float = RETRY_SECONDS,
        report: ReportDefect = log_defect,
    ) -> None:
        self._redis = redis
        self._report = report
        self._retry_seconds = retry_seconds
        self._reserve, self._give_back, self._spent = map(redis.script, (_RESERVE, _GIVE_BACK, _SPENT))
        self._writer = secrets.token_hex(8)
        self._refunds: dict[str, int] = {}
        self._batch: _Batch | None = None
        """The batch that was sent and is not known to be carried out."""
        self._batches = 0
        self._sending = asyncio.Lock()
        self._sender: asyncio.Task[None] | None = None
        self._was_away = False
        """True if Redis was away, so that it may have come back with older data."""
        self._reserved: dict[str, int] = {}
        """Micro-units held by calls in progress, by account."""
        self.recovery = BudgetRecovery(redis, clock or SystemClock(), self._writer, _KEPT_SECONDS, report)
        """Recovery of lost spending, for `/ready` and background work."""

    def recover_from(self, log: str, recorded: Callable[[], Mapping[Account, MicroUnits]]) -> None:
        """Detects that Redis has lost spending, and counts it again. `log`: identifies the log that `recorded` reads,
        the same for all processes that write to it; `recorded` is called in a thread, and may raise StoaError."""

        def spent() -> dict[str, int]:
            return {_key(account): amount for account, amount in recorded().items()}

        self.recovery.begin(RecordedSpending(log, spent), self._reserved)

    async def reserve(self, accounts: Sequence[Account], amount: MicroUnits) -> BudgetVerdict:
        is_settled = not self._is_behind
        verdict = await self._try(accounts, amount, tells=is_settled)
        if verdict.refused_by is None or is_settled:
            return verdict
        await self.flush()  # there may be room: refunds of this process have not arrived
        return await self._try(accounts, amount, tells=True)

    def settle(self, accounts: Sequence[Account], reserved: MicroUnits, actual: MicroUnits) -> None:
        self._hold(accounts, -reserved)
        refund = reserved - actual
        if refund <= 0:
            return
        for account in accounts:
            key = _key(account)
            self._refunds[key] = self._refunds.get(key, 0) + refund
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._send_until_done())

    async def flush(self) -> None:
        async with self._sending:
            while (batch := self._next()) is not None:
                refunds: list[Argument] = [part for refund in batch.refunds.items() for part in refund]
                await self._run(self._give_back, self._writer, batch.number, _KEPT_SECONDS, *refunds)
                self._batch = None

    async def spent(self, accounts: Sequence[Account]) -> Sequence[MicroUnits]:
        await self.flush()
        return [MicroUnits(int(spent)) for spent in await self._ask(self._spent, *map(_key, accounts))]

    async def close(self) -> None:
        await self.recovery.close()
        if self._sender is not None:
            await cancel_and_wait(self._sender)
        try:
            await self.flush()
        except BudgetUnavailable:
            _log.warning("budgets: Redis cannot be reached; what the last calls did not cost stays spent")

    @property
    def _is_behind(self) -> bool:
        return bool(self._refunds) or self._batch is not None

    def _next(self) -> _Batch | None:
        if self._batch is None and self._refunds:
            self._batches += 1
            self._batch, self._refunds = _Batch(self._batches, self._refunds), {}
        return self._batch

    async def _send_until_done(self) -> None:
        has_failed = False
        while self._is_behind:
            try:
                await self.flush()
            except BudgetUnavailable:
                if not has_failed:
                    has_failed = True
                    _log.warning("budgets: Redis cannot be reached; what calls did not cost is given back later")
                await asyncio.sleep(self._retry_seconds)
            except Exception as defect:  # noqa: BLE001  # otherwise refunds would wait for the next call
                self._report("budgets", defect)
                await asyncio.sleep(self._retry_seconds)

    async def _try(self, accounts: Sequence[Account], amount: MicroUnits, *, tells: bool) -> BudgetVerdict:
        arguments: list[Argument] = []
        for account in accounts:
            arguments += (_key(account), account.limit, *(threshold(level, account.limit) for level in LEVELS))
        answer: list[Any] = await self._ask(self._reserve, _KEPT_SECONDS, amount, int(tells), *arguments)
        refusing: int = answer[0]
        refused_by = accounts[refusing - 1] if refusing else None
        if refused_by is None:
            self._hold(accounts, amount)
        looked_at = accounts if refused_by is None else [refused_by]
        levels = zip(answer[1::3], answer[2::3], answer[3::3], strict=True)
        crossings = [
            Crossing(account, level, MicroUnits(int(spent)))
            for account, (before, now, spent) in zip(looked_at, levels, strict=False)  # a refusal may tell nothing
            for level in crossed(before, now)
        ]
        return BudgetVerdict(refused_by, tuple(crossings))

    def _hold(self, accounts: Sequence[Account], amount: int) -> None:
        for account in accounts:
            key = _key(account)
            held = self._reserved.get(key, 0) + amount
            if held > 0:
                self._reserved[key] = held
            else:
                self._reserved.pop(key, None)

    async def _ask(self, script: Any, *arguments: Argument) -> Any:
        if self._was_away:
            with _translated():
                await self.recovery.check()
            self._was_away = False
        answer = await self._run(script, self.recovery.generation, *arguments)
        if answer is None:  # Redis has lost its data, or this process has not asked before
            await self.flush()
            await self.recovery.restore()
            answer = await self._run(script, self.recovery.generation, *arguments)
        if answer is None:
            raise BudgetUnavailable
        return answer

    async def _run(self, script: Any, *arguments: Argument) -> Any:
        try:
            with _translated():
                return await self._redis.run(script, *arguments)
        except BudgetUnavailable:
            self._was_away = True
            raise


def _key(account: Account) -> str:
    tenant, consumer = account.owner
    return f"budget:{account.period}:{tenant}" + ("" if consumer is None else f":{consumer}")


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except SharedStateUnavailable as lost:
        raise BudgetUnavailable from lost
