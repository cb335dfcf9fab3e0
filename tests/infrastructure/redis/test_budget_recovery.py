"""What was spent is counted again when Redis has lost it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live.servers import Redis, running
from tests.services import connections

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BudgetUnavailable, MeteringUnavailable
from stoa.domain.metering.budget import Account, Month, Owner
from stoa.domain.metering.money import MicroUnits
from stoa.infrastructure.redis import RedisBudgetLedger, RedisConnection
from stoa.testing.clock import ManualClock

ACCOUNT = Account(Owner(TenantId("acme")), Month.of(ManualClock().now()), MicroUnits(1000))


class Gateway:
    """A process with its ledger, and a log that it may share with others."""

    def __init__(self, redis: RedisConnection, log: "Log") -> None:
        self.redis, self.log = redis, log
        self.clock = ManualClock()
        self.ledger = RedisBudgetLedger(redis, self.clock, retry_seconds=0.001)
        self.ledger.recover_from(log.name, log.read)
        self.open: list[int] = []

    async def begin(self, amount: int = 100) -> bool:
        """Reserve for a call. False: refused."""
        verdict = await self.ledger.reserve([ACCOUNT], MicroUnits(amount))
        if verdict.refused_by is None:
            self.open.append(amount)
        return verdict.refused_by is None

    def end(self, actual: int) -> None:
        """As the pipeline does: its event first."""
        self.log.spent += actual
        self.ledger.settle([ACCOUNT], MicroUnits(self.open.pop()), MicroUnits(actual))

    async def spent(self) -> int:
        return (await self.ledger.spent([ACCOUNT]))[0]

    async def watched(self) -> None:
        """It has looked once whether anything was lost."""

        async def sleep(_: float) -> None:
            raise TimeoutError

        with pytest.raises(TimeoutError):
            await self.ledger.recovery.watch(sleep)


class Log:
    def __init__(self, name: str) -> None:
        self.name = name
        self.spent = self.reads = 0
        self.failure: Exception | None = None

    def read(self) -> dict[Account, MicroUnits]:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return {ACCOUNT: MicroUnits(self.spent)} if self.spent else {}


@asynccontextmanager
async def gateways(url: str, *logs: Log) -> AsyncGenerator[Sequence[Gateway]]:
    async with connections(*[url] * len(logs)) as made:
        opened = [Gateway(redis, log) for redis, log in zip(made, logs, strict=True)]
        yield opened
        for one in opened:
            await one.ledger.close()


async def lose(gateway: Gateway, *, but: Callable[[str], bool] = lambda _: False) -> None:
    """As FLUSHALL does, for the keys of this test."""
    client, prefix = gateway.redis.client, gateway.redis.prefix
    keys = [key for key in await client.keys(f"{prefix}*") if not but(key.decode().removeprefix(prefix))]
    if keys:
        await client.delete(*keys)


@pytest.fixture(params=["in_process_redis", pytest.param("real_redis", marks=pytest.mark.live)])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


async def test_budgets_that_redis_lost_are_counted_again_before_the_next_call(url: str) -> None:
    async with gateways(url, Log("one"), Log("two")) as (one, two):
        for gateway, actual in ((one, 300), (two, 400)):
            assert await gateway.begin(400)
            gateway.end(actual)
            await gateway.ledger.flush()
        assert await one.begin(200)  # under way when it happens
        assert await two.spent() == 900
        await lose(one)
        assert await two.begin(100)  # of 1000: its own 400, and this
        assert not await one.begin(100)  # its own 300 and 200 come to that
        assert await two.spent() == 1000
        one.end(150)
        two.end(100)
        await two.ledger.flush()
        assert await one.spent() == 300 + 150 + 400 + 100
        assert await two.spent() == 950
        (finding,) = one.ledger.recovery.health().findings
        assert "had lost what was spent" in finding
        one.clock.advance(3601)
        assert one.ledger.recovery.health().findings == ()


async def test_budgets_of_a_replica_without_calls_are_counted_again_by_its_watch(url: str) -> None:
    async with gateways(url, Log("one"), Log("two")) as (busy, idle):
        await idle.begin(400)
        idle.end(400)
        await busy.begin(1)
        busy.end(1)
        await lose(busy)
        assert await busy.spent() == 1
        await idle.watched()
        assert await busy.spent() == 401


async def test_budgets_are_added_once_for_all_workers_of_one_log(url: str) -> None:
    log = Log("shared")
    async with gateways(url, log, log, log) as workers:
        for worker in workers:
            await worker.begin(100)
            worker.end(100)
        assert log.reads == 1
        await lose(workers[0])
        assert await asyncio.gather(*(worker.spent() for worker in workers)) == [300] * 3
        for worker in workers:
            await worker.watched()
        assert await workers[0].spent() == 300


async def test_budgets_that_redis_kept_are_not_added_to_what_it_has(url: str) -> None:
    """As with a server of before this release, and one that came up again with all its data, or with older ones."""
    async with gateways(url, Log("one"), Log("two")) as (one, two):
        for gateway, actual in ((one, 300), (two, 200)):
            await gateway.begin(300)
            gateway.end(actual)
            await gateway.ledger.flush()
        assert await one.spent() == 500

        async def forgets_the_generation() -> None:
            await lose(one, but=lambda key: key.startswith("budget:"))

        await forgets_the_generation()
        assert await one.spent() == 500
        assert await two.spent() == 500

        key = f"{one.redis.prefix}budget:{ACCOUNT.period}:acme"
        await one.redis.client.hset(key, "spent", 350)  # an older copy
        await forgets_the_generation()
        await one.spent()
        assert await two.spent() == 500


async def test_budgets_are_not_given_out_while_it_is_not_known_what_was_spent(url: str) -> None:
    async with gateways(url, Log("one")) as (one,):
        await one.begin(400)
        one.end(400)
        await lose(one)
        for failure in (MeteringUnavailable("unreadable"), LookupError("nobody foresaw this")):
            one.log.failure = failure
            with pytest.raises(BudgetUnavailable):
                await one.begin(1)
        one.log.failure = None
        assert await one.begin(1)
        assert await one.spent() == 401


async def test_budgets_read_no_log_when_another_process_has_added_it(url: str) -> None:
    log = Log("shared")
    async with gateways(url, log, log) as (first, second):
        await first.begin(10)
        await second.begin(10)
        assert log.reads == 1


async def test_budgets_without_anything_to_recover_from_are_as_redis_has_them(url: str) -> None:
    async with connections(url) as (redis,):
        ledger = RedisBudgetLedger(redis)
        assert (await ledger.reserve([ACCOUNT], MicroUnits(10))).refused_by is None
        await redis.client.delete(*await redis.client.keys(f"{redis.prefix}*"))
        assert await ledger.spent([ACCOUNT]) == [0]
        await ledger.close()


STEPS = st.lists(st.tuples(st.sampled_from(["begin", "end", "lose", "forget"]), st.integers(0, 1)), max_size=20)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, actuals=st.lists(st.integers(0, 50), min_size=20, max_size=20))
def test_budgets_never_have_less_spent_than_events_say(in_process_redis: str, steps: Any, actuals: list[int]) -> None:
    """Whatever is lost and when: once every replica has looked, what is spent is what events say and calls hold."""

    async def run() -> None:
        async with gateways(in_process_redis, Log("one"), Log("two")) as both:
            for (step, who), actual in zip(steps, actuals, strict=False):
                gateway = both[who]
                if step == "begin":
                    await gateway.begin(50)
                elif step == "end" and gateway.open:
                    gateway.end(actual)
                    await gateway.ledger.flush()
                elif step in {"lose", "forget"}:
                    await lose(gateway, but=lambda key, step=step: step == "forget" and key.startswith("budget:"))
            for gateway in (*both, *both):
                await gateway.watched()
            held = sum(sum(gateway.open) + gateway.log.spent for gateway in both)
            assert await both[0].spent() == held

    asyncio.run(run())


@pytest.mark.live
async def test_budgets_of_a_redis_that_comes_up_with_older_data_are_counted_again(tmp_path: Path) -> None:
    with running(Redis, tmp_path) as server:
        async with gateways(f"redis://127.0.0.1:{server.port}/0", Log("one")) as (one,):
            await one.begin(100)
            one.end(100)
            assert await one.spent() == 100
            await one.redis.client.save()
            await one.begin(400)
            one.end(400)
            assert await one.spent() == 500
            server.kill()
            server.start()
            with suppress(BudgetUnavailable):
                await one.spent()  # over a connection of before
            assert await one.spent() == 500
            assert one.ledger.recovery.health().findings
