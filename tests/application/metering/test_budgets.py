"""Budgets: reserve before the call, settle after it, over several replicas."""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.services import connections
from tests.strategies import metering_events

from stoa.application.memory.budget_ledger import InMemoryBudgetLedger
from stoa.application.metering.budgets import Budgets
from stoa.application.metering.pricing import Pricing
from stoa.application.ports import BudgetLedger, BudgetWatcher
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BudgetExhausted, QuotaExceeded
from stoa.domain.metering.budget import Account, Budget, Crossing, Month, Owner
from stoa.domain.metering.money import MicroUnits
from stoa.domain.metering.price_list import PriceList
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.infrastructure.redis import RedisBudgetLedger
from stoa.testing.budget_watcher import InMemoryBudgetWatcher
from stoa.testing.clock import ManualClock

ACME, BETA, GAMMA = TenantId("acme"), TenantId("beta"), TenantId("gamma")
START = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
BUDGETS = (
    Budget(tenant=ACME, monthly=MicroUnits(1000)),
    Budget(tenant=ACME, consumer="ci", monthly=MicroUnits(300)),
    Budget(tenant=BETA, consumer="ci", monthly=MicroUnits(50)),
)


class Silent(InMemoryBudgetLedger):
    """Nobody may ask it."""

    async def reserve(self, accounts, amount):
        raise AssertionError("asked")


def money(amount: int) -> MicroUnits:
    return MicroUnits(amount)


async def test_where_no_budget_applies_nobody_is_asked() -> None:
    budgets = Budgets(BUDGETS, Silent(), ManualClock(START))
    for tenant, consumer, ceiling in ((None, "ci", 9), (GAMMA, "ci", 9), (BETA, "app", 9), (ACME, "ci", 0)):
        reservation = budgets.reserve(tenant, consumer, money(ceiling))
        with pytest.raises(StopIteration) as ended:
            reservation.send(None)  # it does not even wait
        assert ended.value.value is None
    assert [budgets.apply_to(tenant) for tenant in (None, GAMMA, BETA)] == [False, False, True]


async def test_a_months_budgets_are_there_before_its_first_call() -> None:
    clock = ManualClock(START)
    budgets = Budgets(BUDGETS, InMemoryBudgetLedger(), clock)
    for month in (Month(2026, 12), Month(2027, 1)):
        found = [(one.account.owner, one.account.period, one.spent) for one in await budgets.status(ACME)]
        assert found == [(Owner(ACME), month, 0), (Owner(ACME, "ci"), month, 0)]
        clock.advance(3600)


async def test_a_call_takes_from_its_tenant_and_its_application_and_gets_back_what_it_did_not_cost() -> None:
    budgets = Budgets(BUDGETS, InMemoryBudgetLedger(), ManualClock(START))
    one, other = await budgets.reserve(ACME, "ci", money(300)), await budgets.reserve(ACME, "app", money(100))
    assert one is not None
    assert other is not None
    with pytest.raises(BudgetExhausted, match="The monthly budget of this tenant does not suffice"):
        await budgets.reserve(ACME, "app", money(601))
    assert budgets.settle(one, money(20)) == 20
    assert budgets.settle(other, money(10**6)) == 100, "never more than was reserved"
    assert budgets.settle(one, money(0)) == 0, "and a second time changes nothing"
    with pytest.raises(BudgetExhausted, match="of this application does not suffice"):
        await budgets.reserve(ACME, "ci", money(281))
    status = await budgets.status(ACME)
    assert [(row.account.owner, row.spent, row.account.limit, row.percent) for row in status] == [
        (Owner(ACME), 120, 1000, 12),
        (Owner(ACME, "ci"), 20, 300, 6),
    ]
    assert await budgets.status(GAMMA) == ()
    assert [row.account.owner for row in await budgets.status(BETA)] == [Owner(BETA, "ci")]


async def test_what_is_refused_says_when_the_next_month_begins_and_is_right() -> None:
    clock = ManualClock(START)
    budgets = Budgets(BUDGETS, InMemoryBudgetLedger(), clock)
    reserved = await budgets.reserve(BETA, "ci", money(50))
    with pytest.raises(QuotaExceeded) as refused:
        await budgets.reserve(BETA, "ci", money(1))
    assert (refused.value.code, refused.value.limit_name) == ("budget_exhausted", "budget")
    assert refused.value.message.endswith("a new one begins on 2027-01-01")
    clock.advance(refused.value.retry_after_seconds - 0.001)
    with pytest.raises(BudgetExhausted):
        await budgets.reserve(BETA, "ci", money(1))
    clock.advance(0.001)
    again = await budgets.reserve(BETA, "ci", money(50))
    assert again is not None
    assert again.accounts[0].period == Month(2027, 1)
    assert reserved is not None
    budgets.settle(reserved, money(0))
    assert [row.spent for row in await budgets.status(BETA)] == [50], "a call settles in the month that it began in"


class Broken(BudgetWatcher):
    def crossed(self, crossing: Crossing) -> None:
        raise RuntimeError


async def test_each_level_is_logged_and_told_once_and_a_broken_watcher_refuses_no_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watcher, ledger = InMemoryBudgetWatcher(), InMemoryBudgetLedger()
    replicas = [Budgets(BUDGETS, ledger, ManualClock(START), [Broken(), watcher]) for _ in range(3)]
    with caplog.at_level(logging.WARNING):
        for replica in itertools.islice(itertools.cycle(replicas), 9):
            reserved = await replica.reserve(ACME, "app", money(100))
            assert reserved is not None
            replica.settle(reserved, money(100))
        for replica in replicas:
            with pytest.raises(BudgetExhausted):
                await replica.reserve(ACME, "app", money(101))
    account = Account(Owner(ACME), Month(2026, 12), money(1000))
    assert watcher.seen == [Crossing(account, 80, money(800)), Crossing(account, 100, money(900))]
    told = [record for record in caplog.records if hasattr(record, "percent")]
    assert [(record.levelname, record.message, record.percent, record.spent, record.budget) for record in told] == [
        ("WARNING", "a budget is running out", 80, "0.0008", "0.001"),
        ("WARNING", "a budget is used up, calls are refused", 100, "0.0009", "0.001"),
    ]
    assert {(record.tenant, record.consumer, record.month) for record in told} == {("acme", None, "2026-12")}


def test_months_follow_each_other() -> None:
    month = Month.of(datetime(2026, 12, 31, 23, 30, tzinfo=UTC))
    assert (str(month), str(month.next), month.next.begin) == ("2026-12", "2027-01", datetime(2027, 1, 1, tzinfo=UTC))
    assert Month.of(month.next.begin - timedelta(microseconds=1)) == month
    assert Month.of(month.next.begin) == month.next


@given(st.lists(metering_events(), max_size=8), st.data())
def test_what_events_of_the_month_have_cost_is_summed_up_by_account(events, data) -> None:
    budgets = Budgets(BUDGETS, InMemoryBudgetLedger(), ManualClock(START))
    moments = st.sampled_from([START, Month(2026, 12).begin, Month(2027, 1).begin, START - timedelta(days=40)])
    events = [
        event.model_copy(
            update={
                "tenant": data.draw(st.sampled_from([ACME, BETA, "-"])),
                "consumer": data.draw(st.sampled_from(["ci", "app"])),
                "timestamp": data.draw(moments),
            }
        )
        for event in events
    ]
    sums = budgets.recorded(events)
    for budget in BUDGETS:
        cost = sum(
            event.cost_units
            for event in events
            if event.tenant == budget.tenant
            and budget.consumer in (None, event.consumer)
            and (event.timestamp.year, event.timestamp.month) == (2026, 12)
        )
        assert sums.get(Account(budget.owner, Month(2026, 12), budget.monthly), 0) == cost


@asynccontextmanager
async def ledgers_of_replicas(shared_in: str | None) -> AsyncGenerator[list[BudgetLedger]]:
    if shared_in is None:
        ledger = InMemoryBudgetLedger()
        yield [ledger] * 3
        return
    async with connections(*[shared_in] * 3, timeout_seconds=60.0) as made:
        ledgers = [RedisBudgetLedger(redis) for redis in made]
        yield list(ledgers)
        for ledger in ledgers:
            await ledger.close()


async def test_of_a_thousand_calls_at_once_on_three_replicas_a_budget_for_a_hundred_lets_a_hundred_through(
    shared_in: str | None,
) -> None:
    tool = Tool(name="dig", binding=LocalBinding(function="dig"), timeout_seconds=0.25)
    tariff = Pricing(PriceList()).tariff(tool, ACME, START)
    ceiling = tariff.ceiling(timeout_seconds=tool.timeout_seconds, max_bytes_out=0)
    budget = Budget(tenant=ACME, monthly=MicroUnits(100 * ceiling))
    async with ledgers_of_replicas(shared_in) as ledgers:
        watcher = InMemoryBudgetWatcher()
        replicas = [Budgets([budget], ledger, ManualClock(START), [watcher]) for ledger in ledgers]

        async def call(number: int) -> MicroUnits | None:
            replica = replicas[number % 3]
            try:
                reserved = await replica.reserve(ACME, "app", ceiling)
            except BudgetExhausted:
                return None
            assert reserved is not None
            await asyncio.sleep(0)
            return replica.settle(reserved, tariff.quote(latency_ms=250))

        costs = [cost for cost in await asyncio.gather(*map(call, range(1000))) if cost is not None]
        assert len(costs) == 100
        assert sum(costs) <= budget.monthly
        assert (await replicas[0].status(ACME))[0].spent == sum(costs)
        assert sorted(crossing.level for crossing in watcher.seen) == [80, 100]


async def test_calls_that_cost_less_than_they_reserved_use_the_budget_up_to_one_reservation(
    shared_in: str | None,
) -> None:
    ceiling, budget = money(100), Budget(tenant=ACME, monthly=MicroUnits(5_000))
    async with ledgers_of_replicas(shared_in) as ledgers:
        replicas = [Budgets([budget], ledger, ManualClock(START)) for ledger in ledgers]
        costs: list[int] = []

        async def call(number: int) -> None:
            replica = replicas[number % 3]
            try:
                reserved = await replica.reserve(ACME, "app", ceiling)
            except BudgetExhausted:
                return
            assert reserved is not None
            await asyncio.sleep(0)
            costs.append(replica.settle(reserved, money(number % 90)))

        await asyncio.gather(*map(call, range(300)))
        for ledger in ledgers:
            await ledger.flush()
        for number in range(0, 600, 3):
            await call(number)
        left = budget.monthly - sum(costs)
        assert 0 <= left < ceiling
        assert (await replicas[0].status(ACME))[0].spent == sum(costs)


async def test_where_there_are_no_budgets_the_ledger_is_not_asked_for_them() -> None:
    class Away(InMemoryBudgetLedger):
        async def spent(self, accounts):
            raise AssertionError("asked")

    assert await Budgets((), Away(), ManualClock(START)).status() == ()
    assert await Budgets(BUDGETS, Away(), ManualClock(START)).status(GAMMA) == ()
