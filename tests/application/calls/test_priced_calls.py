"""Prices and budgets where calls meet them: in the pipeline."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.application.pipeline import ANN, Pipeline, raises, tool, waits

from stoa.application.memory.budget_ledger import InMemoryBudgetLedger
from stoa.application.metering.budgets import Budgets
from stoa.application.ports.tool_backend import CallContext
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.invocation import Invocation
from stoa.domain.client_requests.client_request import (
    ClientCapabilities,
    ElicitationAnswer,
    ElicitationRequest,
    RootsAnswer,
    RootsRequest,
)
from stoa.domain.client_requests.rules import DEFAULT_CLIENT_REQUESTS
from stoa.domain.errors import BackendTimedOut, BudgetExhausted, BudgetUnavailable, MeteringUnavailable
from stoa.domain.metering.budget import Budget
from stoa.domain.metering.event import Status
from stoa.domain.metering.money import MicroUnits
from stoa.domain.metering.price_list import PriceList, PriceVersion, Rates, RatesByOperation
from stoa.domain.operations.tool import ToolAnnotations
from stoa.domain.results.result import (
    SIZE_LIMIT,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    TextContent,
    ToolResult,
)
from stoa.testing.client_channel import InMemoryClientChannel
from stoa.testing.clock import ManualClock

FLAT = PriceList(versions=(PriceVersion(base=Decimal("0.001"), per_100_ms=Decimal(0)),))
TENANT = "acme"


class Purse:
    """A budget of acme, in its own ledger, before a pipeline."""

    def __init__(self, monthly: int, *tools: Any, consumer: str | None = None, prices: PriceList = FLAT, **parts: Any):
        self.ledger = InMemoryBudgetLedger()
        budget = Budget(tenant=TENANT, consumer=consumer, monthly=MicroUnits(monthly))
        self.budgets = Budgets([budget], self.ledger, ManualClock())
        self.pipeline = Pipeline(*(tools or (tool(),)), prices=prices, budgets=self.budgets, **parts)

    async def spent(self) -> int:
        (status,) = await self.budgets.status(ANN.tenant)
        return status.spent


async def test_of_a_thousand_calls_at_once_a_budget_for_a_hundred_lets_a_hundred_through():
    purse = Purse(100_000, limit=RateLimit(requests_per_minute=60_000_000, burst=1000))
    ready = asyncio.Event()

    async def slow(*args: Any) -> ToolResult:
        await ready.wait()
        return ToolResult((TextContent("done"),))

    purse.pipeline.backend.behaviour = slow
    calls = [asyncio.create_task(purse.pipeline.invoke()) for _ in range(1000)]
    while len(purse.pipeline.backend.received) < 100:
        await asyncio.sleep(0)
    ready.set()
    outcomes = await asyncio.gather(*calls)
    done = [outcome for outcome in outcomes if outcome.status is Status.SUCCESS]
    assert len(done) == len(purse.pipeline.backend.received) == 100
    assert sum(event.cost_units for event in purse.pipeline.events) == await purse.spent() == 100_000
    refused = [outcome for outcome in outcomes if outcome.status is not Status.SUCCESS]
    assert {(type(one.error), one.status, one.cost) for one in refused} == {(BudgetExhausted, Status.RATE_LIMITED, 0)}
    assert len(purse.pipeline.events) == 1000


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (raises(BackendTimedOut("late")), Status.TIMEOUT),
        (raises(RuntimeError("defect")), Status.ERROR),
    ],
)
async def test_a_call_that_fails_is_settled_with_what_its_event_says(behaviour: Any, status: Status, caplog: Any):
    caplog.set_level("CRITICAL")
    purse = Purse(5_000)
    purse.pipeline.backend.behaviour = behaviour
    outcome = await purse.pipeline.invoke()
    assert outcome.status is status
    assert await purse.spent() == outcome.cost == outcome.event.cost_units == 1_000


async def test_a_cancelled_call_is_settled_too():
    purse = Purse(5_000)
    reached = asyncio.Event()
    purse.pipeline.backend.behaviour = waits(reached)
    call = asyncio.create_task(purse.pipeline.invoke())
    await reached.wait()
    call.cancel()
    await asyncio.wait({call})
    assert [event.status for event in purse.pipeline.events] == [Status.CANCELLED]
    assert await purse.spent() == 1_000


async def test_a_call_that_cannot_be_metered_costs_nothing():
    purse = Purse(5_000)
    purse.pipeline.instead["record"] = raises(MeteringUnavailable("full"))
    assert (await purse.pipeline.invoke()).cost == 0
    assert await purse.spent() == 0


async def test_what_is_refused_before_the_back_end_reserves_nothing_or_gives_it_back():
    purse = Purse(5_000)
    assert (await purse.pipeline.invoke(arguments={"n": "x"})).status is Status.INVALID
    assert (await purse.pipeline.invoke("nothing")).status is Status.INVALID

    def full() -> None:
        raise MeteringUnavailable("full")

    purse.pipeline.instead["reserve"] = full
    assert (await purse.pipeline.invoke()).status is Status.ERROR
    assert await purse.spent() == 0


async def test_the_most_that_a_call_may_cost_must_fit():
    priced_by_time = PriceList()
    purse = Purse(30_999, tool(timeout_seconds=30.0), prices=priced_by_time)
    assert (await purse.pipeline.invoke()).status is Status.RATE_LIMITED
    enough = Purse(31_000, tool(timeout_seconds=30.0), prices=priced_by_time)
    assert (await enough.pipeline.invoke()).status is Status.SUCCESS
    assert await enough.spent() == 1_000


async def test_the_most_that_a_call_may_cost_is_reckoned_with_the_prices_of_its_moment():
    flat, later = Decimal(0), ManualClock().now() + timedelta(seconds=60)
    versions = (
        PriceVersion(base=Decimal("0.001"), per_100_ms=flat),
        PriceVersion(since=later, base=Decimal("0.01"), per_100_ms=flat),
    )
    purse = Purse(5_000, prices=PriceList(versions=versions))
    assert (await purse.pipeline.invoke()).status is Status.SUCCESS
    purse.pipeline.clock.advance(60)
    assert (await purse.pipeline.invoke()).status is Status.RATE_LIMITED


async def test_a_ledger_that_cannot_answer_refuses_the_call():
    purse = Purse(5_000)

    async def away(*args: Any) -> Any:
        raise BudgetUnavailable

    purse.ledger.reserve = away  # type: ignore[method-assign]
    outcome = await purse.pipeline.invoke()
    assert isinstance(outcome.error, BudgetUnavailable)
    assert purse.pipeline.backend.received == []


async def test_the_events_of_a_call_that_waited_long_for_its_user_say_what_its_budget_is_charged():
    asking = PriceList(
        versions=(PriceVersion(base=Decimal("0.001"), per_100_ms=Decimal("0.001"), per_question=Decimal("0.0005")),)
    )
    purse = Purse(10_000_000, tool(timeout_seconds=1.0), prices=asking)

    def late(key: str, request: Any) -> ElicitationAnswer:
        purse.pipeline.clock.advance(3600)
        return ElicitationAnswer("decline", {})

    async def asks(arguments: Any, context: CallContext) -> ToolResult:
        assert context.client_requests is not None
        await context.client_requests.send({"why": ElicitationRequest("Why?", {"type": "object", "properties": {}})})
        return ToolResult((TextContent("done"),))

    purse.pipeline.backend.behaviour = asks
    channel = InMemoryClientChannel(ClientCapabilities(elicitation=True), late)
    assert (await purse.pipeline.invoke(channel=channel)).status is Status.SUCCESS
    costs = [event.cost_units for event in purse.pipeline.events]
    assert len(costs) == 2
    assert sum(costs) == await purse.spent() == 11_000 + 500 * DEFAULT_CLIENT_REQUESTS.of(ANN.tenant).per_call


async def test_a_budget_of_a_consumer_stops_that_consumer_alone():
    purse = Purse(1_000, consumer="batch")
    statuses = [(await purse.pipeline.invoke(consumer=consumer)).status for consumer in ("batch", "batch", "app")]
    assert statuses == [Status.SUCCESS, Status.RATE_LIMITED, Status.SUCCESS]


@pytest.mark.parametrize(
    ("result", "size"),
    [
        (ToolResult((TextContent("h\u00e9"),)), 3),
        (ToolResult((ImageContent("QUJD", "image/png"), TextContent("abc"))), 7),
        (ToolResult((EmbeddedResource("a:b", text="\ud800"), EmbeddedResource("a:c", blob="QUJD"))), 5),
        (ToolResult((), messages=(PromptMessage("user", TextContent("abc")),)), 3),
    ],
)
async def test_bytes_that_go_out_are_charged_where_they_have_a_price(result: ToolResult, size: int):
    assert result.size == size <= SIZE_LIMIT
    by_byte = PriceList(versions=(PriceVersion(base=Decimal(0), per_100_ms=Decimal(0), per_kib_out=Decimal("1.024")),))
    pipeline = Pipeline(tool(), prices=by_byte)

    async def answers(*args: Any) -> ToolResult:
        return result

    pipeline.backend.behaviour = answers
    assert (await pipeline.invoke()).cost == size * 1_000


async def test_prices_follow_the_tool_its_tags_the_tenant_and_the_moment():
    pipeline = Pipeline(
        tool("plain"),
        tool("special"),
        tool("tagged", tags=("gold",)),
        tool("premium", annotations=ToolAnnotations(destructive_hint=True), tags=("stoa:read",)),
        prices=PriceList(
            versions=(
                PriceVersion(
                    base=Decimal("0.001"),
                    per_100_ms=Decimal(0),
                    tools={"special": Rates(base=Decimal("0.5"))},
                    tags={"gold": Rates(base=Decimal("0.25"))},
                ),
                PriceVersion(
                    since=ManualClock().now() + timedelta(seconds=60),
                    per_100_ms=Decimal(0),
                    base=Decimal(1),
                    tenants={TENANT: RatesByOperation(base=Decimal(2))},
                ),
            )
        ),
    )
    costs = [(await pipeline.invoke(name)).cost for name in ("plain", "special", "tagged", "premium")]
    assert costs == [1_000, 500_000, 250_000, 2_000]
    pipeline.clock.advance(60)
    assert (await pipeline.invoke("plain")).cost == 2_000_000


async def test_client_request_has_the_price_of_the_tenant_of_its_call():
    own = {TENANT: RatesByOperation(per_question=Decimal("0.0007"))}
    prices = PriceList(versions=(PriceVersion(per_question=Decimal("0.0002"), tenants=own),))
    pipeline = Pipeline(tool(), prices=prices)

    async def asks(arguments: Any, context: CallContext) -> ToolResult:
        assert context.client_requests is not None
        await context.client_requests.send({"where": RootsRequest()})
        return ToolResult((TextContent("done"),))

    pipeline.backend.behaviour = asks
    channel = InMemoryClientChannel(ClientCapabilities(roots=True), lambda *_: RootsAnswer(()))
    assert (await pipeline.invoke(channel=channel)).status is Status.SUCCESS
    assert [event.cost_units for event in pipeline.events] == [700, 1_000]


@pytest.mark.parametrize("is_kept", [True, False])
async def test_client_requests_are_charged_to_the_budget_of_their_call_unless_their_event_is_lost(is_kept: bool):
    prices = PriceList(versions=(PriceVersion(base=Decimal("0.001"), per_question=Decimal("0.0002")),))
    purse = Purse(10_000_000, prices=prices)
    record = purse.pipeline.sink.record

    async def keep(event: Any, *, is_reserved: bool) -> None:
        if ":" in event.tool and not is_kept:
            raise MeteringUnavailable("disk")
        await record(event, is_reserved=is_reserved)

    purse.pipeline.sink.record = keep  # type: ignore[method-assign]

    async def asks(arguments: Any, context: Any) -> ToolResult:
        for number in range(2):
            try:
                await context.client_requests.send({str(number): RootsRequest()})
            except MeteringUnavailable:
                assert not is_kept
        return ToolResult((TextContent("done"),))

    purse.pipeline.backend.behaviour = asks
    channel = InMemoryClientChannel(ClientCapabilities(roots=True), lambda *_: RootsAnswer(()))
    asked = Invocation(credential=ANN, name="count", arguments={}, door="library")
    outcome = await purse.pipeline.invoke_operation.execute(asked, channel)
    assert (outcome.status, outcome.cost) == (Status.SUCCESS, 1000)
    assert sum(event.cost_units for event in purse.pipeline.events) == await purse.spent()
    assert await purse.spent() == (1400 if is_kept else 1000)
