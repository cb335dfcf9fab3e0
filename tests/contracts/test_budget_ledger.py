"""The laws of BudgetLedger, for every adapter. To add one, write what opens it three times over the same place, which
is empty: the three are processes that share their budgets."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.adapters import parameters
from tests.live.servers import free_port
from tests.services import connections, wire

from stoa.application.memory.budget_ledger import InMemoryBudgetLedger
from stoa.application.ports import BudgetLedger
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BudgetUnavailable
from stoa.domain.metering.budget import MOST_MICRO_UNITS, Account, Crossing, Month, Owner
from stoa.domain.metering.money import MicroUnits
from stoa.infrastructure.redis import RedisBudgetLedger

MONTH = Month(2026, 12)
ACME, BETA = TenantId("acme"), TenantId("beta")

Trio = tuple[BudgetLedger, BudgetLedger, BudgetLedger]
Open = Callable[[], AbstractAsyncContextManager[Trio]]


def _in_memory(_: pytest.FixtureRequest) -> Open:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Trio]:
        ledger = InMemoryBudgetLedger()
        yield ledger, ledger, ledger
        await ledger.close()

    return opened


def _in_redis(server: str) -> Callable[[pytest.FixtureRequest], Open]:
    def of(request: pytest.FixtureRequest) -> Open:
        url: str = request.getfixturevalue(server)

        @asynccontextmanager
        async def opened() -> AsyncGenerator[Trio]:
            async with connections(url, url, url, timeout_seconds=30.0) as (one, two, three):
                trio = RedisBudgetLedger(one), RedisBudgetLedger(two), RedisBudgetLedger(three)
                yield trio
                for ledger in trio:
                    await ledger.close()

        return opened

    return of


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Open]] = {
    "memory": _in_memory,
    "in_process_redis": _in_redis("in_process_redis"),
    "real_redis": _in_redis("real_redis"),
}


@pytest.fixture(scope="session", params=parameters(ADAPTERS))
def open_ledgers(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param](request)


def account(limit: int = 100, tenant: TenantId = ACME, consumer: str | None = None, month: Month = MONTH) -> Account:
    return Account(Owner(tenant, consumer), month, MicroUnits(limit))


def money(amount: int) -> MicroUnits:
    return MicroUnits(amount)


async def test_what_is_reserved_counts_at_once_for_every_process(open_ledgers: Open) -> None:
    async with open_ledgers() as (here, there, _):
        assert (await here.reserve([account()], money(70))).refused_by is None
        assert (await there.reserve([account()], money(31))).refused_by == account()
        assert (await there.reserve([account()], money(30))).refused_by is None
        assert (await here.reserve([account()], money(1))).refused_by == account()
        assert (await here.reserve([account()], money(0))).refused_by is None
        assert await there.spent([account(), account(tenant=BETA)]) == [100, 0]


async def test_all_accounts_or_none(open_ledgers: Open) -> None:
    whole, own, other = account(100), account(50, consumer="ci"), account(60, BETA)
    async with open_ledgers() as (here, there, _):
        assert (await here.reserve([whole, own], money(50))).refused_by is None
        assert (await there.reserve([whole, own], money(1))).refused_by == own
        assert (await there.reserve([own, whole], money(51))).refused_by == own
        assert (await there.reserve([whole, other], money(55))).refused_by == whole
        assert await here.spent([whole, own, other]) == [50, 50, 0]


async def test_what_a_call_did_not_cost_is_there_for_the_next_of_this_process(open_ledgers: Open) -> None:
    async with open_ledgers() as (here, there, _):
        for _number in range(20):
            assert (await here.reserve([account(120)], money(100))).refused_by is None
            here.settle([account(120)], money(100), money(1))
        await here.flush()
        assert await there.spent([account(120)]) == [20]
        assert (await there.reserve([account(120)], money(100))).refused_by is None


async def test_months_tenants_and_applications_do_not_influence_each_other(open_ledgers: Open) -> None:
    accounts = [account(), account(consumer="ci"), account(consumer="ci:x"), account(tenant=BETA)]
    accounts += [account(month=MONTH.next), account(month=Month(2026, 1))]
    async with open_ledgers() as (here, _, _):
        for number, one in enumerate(accounts, 1):
            assert (await here.reserve([one], money(number))).refused_by is None
        assert list(await here.spent(accounts[:-1])) == [1, 2, 3, 4, 5]


async def test_the_largest_budget_is_counted_to_the_micro_unit(open_ledgers: Open) -> None:
    large = account(MOST_MICRO_UNITS)
    async with open_ledgers() as (here, there, _):
        assert (await here.reserve([large], money(MOST_MICRO_UNITS - 1))).refused_by is None
        assert (await there.reserve([large], money(2))).refused_by == large
        assert (await there.reserve([large], money(1))).refused_by is None
        here.settle([large], money(MOST_MICRO_UNITS - 1), money(MOST_MICRO_UNITS - 2))
        await here.flush()
        assert await there.spent([large]) == [MOST_MICRO_UNITS - 1]
        assert (await there.reserve([large], money(2))).refused_by == large


async def test_each_level_is_told_once_over_all_processes(open_ledgers: Open) -> None:
    one = account()
    async with open_ledgers() as (here, there, third):
        assert (await here.reserve([one], money(79))).crossings == ()
        assert (await there.reserve([one], money(1))).crossings == (Crossing(one, 80, money(80)),)
        there.settle([one], money(1), money(0))
        await there.flush()
        assert (await here.reserve([one], money(2))).crossings == ()
        refused = await third.reserve([one], money(20))
        assert (refused.refused_by, refused.crossings) == (one, (Crossing(one, 100, money(81)),))
        assert (await here.reserve([one], money(19))).crossings == ()
        assert (await there.reserve([one], money(1))).crossings == ()
        other = account(tenant=BETA)
        crossings = (await here.reserve([other], money(100))).crossings
        assert [crossing.level for crossing in crossings] == [80, 100]


async def test_a_budget_of_nothing_allows_nothing(open_ledgers: Open) -> None:
    none = account(0)
    async with open_ledgers() as (here, _, _):
        assert (await here.reserve([none], money(1))).refused_by == none
        assert (await here.reserve([none], money(0))).refused_by is None


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=2, unique=True),
        st.integers(0, 60),
        st.integers(0, 60),
    ),
    max_size=15,
)


@given(STEPS)
@settings(deadline=None, max_examples=40)
async def test_what_is_spent_is_what_was_settled_and_never_above_the_limit(open_ledgers: Open, steps: Any) -> None:
    accounts = [account(100), account(60, consumer="ci"), account(200, BETA)]
    spent, reached = [0, 0, 0], [0, 0, 0]
    async with open_ledgers() as ledgers:
        for replica, numbers, amount, actual in steps:
            ledger, taken = ledgers[replica], [accounts[number] for number in numbers]
            full = next((number for number in numbers if spent[number] + amount > accounts[number].limit), None)
            verdict = await ledger.reserve(taken, money(amount))
            assert verdict.refused_by == (None if full is None else accounts[full])
            told: list[tuple[Account, int]] = []
            for number in numbers if full is None else [full]:
                if full is None:
                    spent[number] += amount
                percent = spent[number] * 100 / accounts[number].limit
                now = 100 if full is not None or percent >= 100 else 80 if percent >= 80 else 0
                told += [(accounts[number], level) for level in (80, 100) if reached[number] < level <= now]
                reached[number] = max(reached[number], now)
            assert [(crossing.account, crossing.level) for crossing in verdict.crossings] == told
            if full is None:
                charged = min(amount, actual)
                ledger.settle(taken, money(amount), money(charged))
                await ledger.flush()
                for number in numbers:
                    spent[number] -= amount - charged
            assert list(await ledgers[0].spent(accounts)) == spent


async def test_a_crowd_over_three_processes_spends_the_budget_and_no_more(open_ledgers: Open) -> None:
    one, of_ci = account(1000), account(700, consumer="ci")
    async with open_ledgers() as ledgers:
        turns = itertools.cycle(ledgers)

        async def call(number: int) -> int:
            ledger, accounts = next(turns), [one, of_ci] if number % 2 else [one]
            if (await ledger.reserve(accounts, money(10))).refused_by is not None:
                return 0
            await asyncio.sleep(0)
            ledger.settle(accounts, money(10), money(7))
            return 7

        costs = await asyncio.gather(*map(call, range(300)))
        for ledger in ledgers:
            await ledger.flush()
        total, of_some = await ledgers[0].spent([one, of_ci])
        assert total == sum(costs) <= 1000
        assert of_some == sum(costs[1::2]) <= 700


async def test_a_redis_that_is_away_is_said_so_and_gives_nothing_away() -> None:
    async with connections(f"redis://user:pass-word@127.0.0.1:{free_port()}/0") as (redis,):
        ledger = RedisBudgetLedger(redis)
        for attempt in (ledger.reserve([account()], money(1)), ledger.spent([account()])):
            with pytest.raises(BudgetUnavailable) as refused:
                await attempt
            assert refused.value.message == "Budgets cannot be checked at the moment"
        await ledger.close()


async def test_what_is_settled_while_redis_is_away_is_given_back_once_when_it_returns(in_process_redis: str) -> None:
    async with wire(in_process_redis) as line, connections(line.url, in_process_redis) as (cut, whole):
        ledger, other = RedisBudgetLedger(cut, retry_seconds=0.001), RedisBudgetLedger(whole)
        assert (await ledger.reserve([account()], money(90))).refused_by is None
        line.cut()
        ledger.settle([account()], money(40), money(10))
        with pytest.raises(BudgetUnavailable):
            await ledger.flush()
        ledger.settle([account()], money(50), money(10))
        assert await other.spent([account()]) == [90]
        line.mend()
        await ledger.flush()
        assert await other.spent([account()]) == [20]
        await ledger.close()


async def test_a_batch_whose_answer_was_lost_is_carried_out_once(in_process_redis: str) -> None:
    async with connections(in_process_redis) as (redis,):
        ledger = RedisBudgetLedger(redis, retry_seconds=0.001)
        assert (await ledger.reserve([account()], money(90))).refused_by is None
        give_back, carried_out = ledger._give_back, []

        async def losing(**rest: Any) -> Any:
            carried_out.append(await give_back(**rest))
            if len(carried_out) < 4:
                raise ConnectionResetError
            return carried_out[-1]

        ledger._give_back = losing
        ledger.settle([account()], money(40), money(10))
        while len(carried_out) < 4:
            with suppress(BudgetUnavailable):
                await ledger.flush()
        assert carried_out == [1, 0, 0, 0]
        assert await ledger.spent([account()]) == [60]
        await ledger.close()


async def test_nothing_is_given_back_to_a_redis_that_forgot_what_was_spent(in_process_redis: str) -> None:
    async with connections(in_process_redis) as (redis,):
        ledger = RedisBudgetLedger(redis)
        await ledger.reserve([account()], money(90))
        await redis.client.delete(*await redis.client.keys(f"{redis.prefix}budget:*"))
        await ledger.reserve([account()], money(5))
        ledger.settle([account()], money(90), money(0))
        await ledger.flush()
        assert await ledger.spent([account()]) == [0]
        assert (await ledger.reserve([account()], money(101))).refused_by == account()
        await ledger.close()


async def test_in_redis_an_account_is_dropped_when_its_month_is_long_over(in_process_redis: str) -> None:
    async with connections(in_process_redis) as (redis,):
        ledger = RedisBudgetLedger(redis)
        await ledger.reserve([account()], money(1))
        (key,) = await redis.client.keys(f"{redis.prefix}*")
        assert await redis.client.ttl(key) == pytest.approx(75 * 86_400, abs=20)
        await ledger.close()


async def test_in_memory_two_months_are_kept_and_the_start_may_be_primed() -> None:
    ledger = InMemoryBudgetLedger()
    primed = account()
    ledger.prime(primed, money(85))
    assert (await ledger.reserve([primed], money(15))).crossings == (Crossing(primed, 100, money(100)),)
    month = MONTH
    for _ in range(5):
        month = month.next
        await ledger.reserve([account(month=month)], money(3))
    assert len(ledger._months) == 2
    assert list(await ledger.spent([primed, account(month=month)])) == [0, 3]
    ledger.settle([primed], money(15), money(0))
    assert list(await ledger.spent([primed])) == [0]
