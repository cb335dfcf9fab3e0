"""Restores spending that Redis has lost: after FLUSHALL, a replaced server, a failover to an older copy.

    PREFIX budget-generation  identifies one life of the data: the server's run id and a random text
    PREFIX budget-restored    set: the logs that were added in this generation
    PREFIX budget-restored-by:WRITER  the generation in which a process has added what it had reserved

Every budget script names the generation that its process knows. If Redis has another one, or none, the process first
adds this month's spending from the metering events of its own outbox (once for each outbox, however many workers write
to it) and the reservations of its running calls. Spending that an account still holds is not added twice: it is
`covered`, and only the excess counts.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stoa.application.concurrency.supervisor import ReportDefect, Sleep
from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe
from stoa.domain.errors import BudgetUnavailable, SharedStateUnavailable, StoaError
from stoa.infrastructure.redis.connection import Argument, RedisConnection

_log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
WAIT_SECONDS = 2.0
"""Upper bound on how long a call waits for the restoration; then it is refused."""
_SHOWN_SECONDS = 3600.0

# ARGV: prefix, run id, a random text, who restores what is recorded, who restores what is reserved, seconds to keep;
# then for each account: key, recorded, reserved.
_RESTORE = """
local prefix, run = ARGV[1], ARGV[2]
local generation = redis.call('GET', prefix .. 'budget-generation')
local is_new = not generation or string.sub(generation, 1, #run) ~= run
if is_new then
  generation = run .. ':' .. ARGV[3]
  redis.call('SET', prefix .. 'budget-generation', generation)
  redis.call('DEL', prefix .. 'budget-restored')
end
local adds_recorded = redis.call('SADD', prefix .. 'budget-restored', ARGV[4]) == 1
local process = prefix .. 'budget-restored-by:' .. ARGV[5]
local adds_reserved = redis.call('GET', process) ~= generation
redis.call('SET', process, generation, 'EX', ARGV[6])
for i = 7, #ARGV, 3 do
  local key, amount = prefix .. ARGV[i], 0
  if adds_recorded then amount = amount + ARGV[i + 1] end
  if adds_reserved then amount = amount + ARGV[i + 2] end
  if amount > 0 then
    if redis.call('HGET', key, 'generation') ~= generation then
      redis.call('HSET', key, 'generation', generation, 'covered', redis.call('HGET', key, 'spent') or '0')
    end
    local held = math.min(tonumber(redis.call('HGET', key, 'covered')), amount)
    if held > 0 then redis.call('HINCRBY', key, 'covered', string.format('%.0f', -held)) end
    if amount > held then redis.call('HINCRBY', key, 'spent', string.format('%.0f', amount - held)) end
    redis.call('EXPIRE', key, ARGV[6])
  end
end
return {generation, is_new and 1 or 0}
"""


@dataclass(frozen=True, slots=True)
class RecordedSpending:
    """Recorded spending in one log. `log`: identifies it, the same for all processes that write to it. `spent` reads
    this month's spending by the account's key; it may take seconds, and raise StoaError."""

    log: str
    spent: Callable[[], Mapping[str, int]]


class BudgetRecovery(HealthProbe):
    """Restores lost spending. `generation` must be named by every budget script; empty if there is no log to recover
    from."""

    name = "budgets"

    def __init__(
        self, redis: RedisConnection, clock: Clock, writer: str, kept_seconds: int, report: ReportDefect
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._writer = writer
        self._kept_seconds = kept_seconds
        self._report = report
        self._restore = redis.script(_RESTORE)
        self._recorded: RecordedSpending | None = None
        self._reserved: Mapping[str, int] = {}
        self._restoring: asyncio.Task[None] | None = None
        self._lost_at: datetime | None = None
        self.generation = ""

    def begin(self, recorded: RecordedSpending, reserved: Mapping[str, int]) -> None:
        """Starts detecting losses. `reserved`: a live view of what calls in progress hold."""
        self._recorded, self._reserved, self.generation = recorded, reserved, "none"

    def health(self) -> Health:
        """Health with a finding if restoration failed; always ready, because calls without a budget go on."""
        now = self._clock.now()
        if self._lost_at is None or (now - self._lost_at).total_seconds() > _SHOWN_SECONDS:
            return Health(True, "counted in Redis")
        finding = (
            f"REDIS_URL: the server had lost what was spent at {self._lost_at:%Y-%m-%dT%H:%M:%SZ}; it was counted "
            "again from the metering events of this month that the outboxes still hold"
        )
        return Health(True, "counted in Redis, again", (finding,))

    async def restore(self) -> None:
        """Returns once the generation is known and this process has restored its part. Raises BudgetUnavailable if that
        fails or takes too long; it then continues in the background."""
        if self._restoring is None or self._restoring.done():
            self._restoring = asyncio.create_task(self._do_restore())
        task = self._restoring
        await asyncio.wait({task}, timeout=WAIT_SECONDS)
        if not task.done() or task.cancelled():
            raise BudgetUnavailable
        failure = task.exception()
        if failure is not None:
            raise BudgetUnavailable from failure

    async def check(self) -> None:
        """Restores spending if some was lost. Raises SharedStateUnavailable and BudgetUnavailable."""
        if self._recorded is not None and not await self._is_current():
            await self.restore()

    async def watch(self, sleep: Sleep = asyncio.sleep) -> None:
        """Detects losses while no calls arrive, and a server that restarted with older data, until cancelled."""
        while True:
            try:
                await self.check()
            except StoaError as away:
                _log.debug("budgets: %s", away.message)  # the breaker and the bus tell of an outage
            await sleep(CHECK_SECONDS)

    async def close(self) -> None:
        if self._restoring is not None:
            self._restoring.cancel()
            await asyncio.wait({self._restoring})

    async def _do_restore(self) -> None:
        recorded = self._recorded
        if recorded is None:
            return
        previous = self.generation
        # Reservations first, then the log: a call that ends in between is counted in both, never in neither.
        reserved = dict(self._reserved)
        try:
            run_id = await self._run_id()
            is_known = await self._is_restored(recorded.log, run_id)
            nothing: Mapping[str, int] = {}
            spent = nothing if is_known else await asyncio.to_thread(recorded.spent)
            accounts: list[Argument] = []
            for key in spent.keys() | reserved.keys():
                accounts += (key, spent.get(key, 0), reserved.get(key, 0))
            who = (secrets.token_hex(8), recorded.log, self._writer, self._kept_seconds)
            generation, is_new = await self._redis.run(self._restore, run_id, *who, *accounts)
        except StoaError as failure:
            _log.warning("budgets: what was spent cannot be counted again yet: %s", failure.message)
            raise
        except Exception as defect:
            self._report("budgets", defect)
            raise
        self.generation = generation.decode()
        if previous != "none" or is_new:
            level = logging.WARNING if previous != "none" else logging.INFO
            _log.log(level, "budgets: what was spent this month was counted again from metering events")
        if previous != "none":
            self._lost_at = self._clock.now()

    async def _is_restored(self, log: str, run_id: str) -> bool:
        """True if another process that writes to the same log has added it, so that nothing has to be read."""
        prefix, client = self._redis.prefix, self._redis.client
        with self._redis.guarded():
            generation: bytes | None = await client.get(f"{prefix}budget-generation")
            is_member = bool(await client.sismember(f"{prefix}budget-restored", log))
        return is_member and generation is not None and generation.decode().startswith(run_id)

    async def _is_current(self) -> bool:
        run_id = await self._run_id()
        with self._redis.guarded():
            stored: bytes | None = await self._redis.client.get(f"{self._redis.prefix}budget-generation")
        return stored is not None and stored.decode() == self.generation and self.generation.startswith(run_id)

    async def _run_id(self) -> str:
        """The run id of the server's process; empty if it does not report one."""
        try:
            with self._redis.guarded():
                server: Any = await self._redis.client.info("server")
        except SharedStateUnavailable:
            self._redis.check()
            return ""
        return str(server.get("run_id", ""))
