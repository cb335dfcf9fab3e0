"""GET /mcp/v1/usage."""

import asyncio
import csv
import io
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema_rs
import pytest
from tests.interfaces.doors import World, new_world

from stoa.application.memory.budget_ledger import InMemoryBudgetLedger
from stoa.application.metering.budgets import Budgets
from stoa.application.metering.event_schema import metering_event_schema
from stoa.domain.access.identity import TenantId
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import QuotaExceeded
from stoa.domain.metering.budget import Budget
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.interfaces.rest.usage import MAX_ROWS, OneAtATime, Pace
from stoa.interfaces.wire.usage_report import SOURCE
from stoa.testing.clock import ManualClock

ALPHA = TenantId("alpha")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(**fields: object) -> MeteringEvent:
    base = {"event_id": "e", "timestamp": NOON, "tenant": "alpha", "user_id": "u", "tool": "t", "latency_ms": 10}
    return MeteringEvent.model_validate({**base, "status": Status.SUCCESS, "cost_units": 1010, **fields})


EVENTS = [
    event(),
    event(tool="other", latency_ms=30, status=Status.ERROR, timestamp=NOON + timedelta(days=1)),
    event(tool="other", status=Status.RATE_LIMITED, cost_units=0, consumer="=1+1"),
    event(tenant="beta", tool="private"),
    event(tenant="-", status=Status.UNAUTHORIZED, cost_units=0),
]


@pytest.fixture
async def used(world: World) -> World:
    for one in EVENTS:
        await world.sink.record(one, is_reserved=False)
    return world


async def _asked(world: World, query: str = "", **rest: Any) -> Any:
    answer = await world.rest("GET", f"/usage{query}", **rest)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_an_answer_has_rows_totals_and_says_what_it_is_of(used: World) -> None:
    assert await _asked(used) == {
        "groupBy": ["tool"],
        "rows": [
            {
                "tool": "other", "calls": 2, "errors": 1, "refusals": 1,
                "p50LatencyMs": 30, "p95LatencyMs": 30, "costUnits": 0.00101,
            },
            {
                "tool": "t", "calls": 1, "errors": 0, "refusals": 0,
                "p50LatencyMs": 10, "p95LatencyMs": 10, "costUnits": 0.00101,
            },
        ],
        "totals": {
            "calls": 3, "errors": 1, "refusals": 1, "p50LatencyMs": 10, "p95LatencyMs": 30, "costUnits": 0.00202,
        },
        "source": SOURCE,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("token", "query", "calls"),
    [
        ("alpha-viewer", "", 3),
        ("alpha-viewer", "?tenant_id=alpha", 3),
        ("alpha-admin", "?tenant_id=beta", 0),
        ("alpha-admin", "?tenant_id=-", 0),
        ("alpha-admin", "?tenant_id=nowhere", 0),
        ("beta-viewer", "", 1),
        ("admin", "", 5),
        ("admin", "?tenant_id=beta", 1),
        ("admin", "?tenant_id=-", 1),
    ],
)
async def test_a_caller_sees_the_own_tenant_and_an_admin_all(used: World, token: str, query: str, calls: int) -> None:
    assert (await _asked(used, query, token=token))["totals"]["calls"] == calls


async def test_it_can_be_grouped_and_narrowed_to_a_time(used: World) -> None:
    by_day = await _asked(used, "?by=day,status&since=2026-03-01T13:00:00%2B01:00&until=2026-03-02T00:00:00Z")
    assert [(row["day"], row["status"], row["calls"]) for row in by_day["rows"]] == [
        ("2026-03-01", "rate_limited", 1),
        ("2026-03-01", "success", 1),
    ]
    assert len((await _asked(used, "?by="))["rows"]) == 1
    assert (await _asked(used, "?since=2026-03-01T13:00:00+01:00"))["totals"]["calls"] == 3


async def test_csv_is_one_table_in_which_nothing_is_computed(used: World) -> None:
    answer = await used.rest("GET", "/usage?by=consumer&format=csv")
    assert answer.header("content-type") == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(answer.body.decode())))
    assert rows[0] == ["consumer", "calls", "errors", "refusals", "p50 ms", "p95 ms", "cost units"]
    assert [row[:2] for row in rows[1:]] == [["'=1+1", "1"], ["unknown", "2"]]


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("?by=colour", "'colour' is unknown; use any of tenant"),
        ("?by=tool,tool", "once"),
        ("?since=yesterday", "since: write it as"),
        ("?until=2026-01-01", "until: .*time zone"),
        ("?since=0001-01-01T00:00:00%2B14:00", "since: .*out of range"),
        ("?format=xml", "format: expected json or csv"),
    ],
)
async def test_a_wrong_question_says_what_to_change(used: World, query: str, hint: str) -> None:
    answer = await used.rest("GET", f"/usage{query}")
    assert (answer.status, answer.json()["error"]) == (400, "invalid_input")
    assert re.search(hint, answer.json()["message"])


async def test_too_many_rows_are_refused(world: World) -> None:
    for number in range(MAX_ROWS + 1):
        await world.sink.record(event(tool=str(number)), is_reserved=False)
    answer = await world.rest("GET", "/usage?by=tool")
    assert answer.status == 400
    assert "group by less" in answer.json()["message"]
    assert (await _asked(world, "?by=tenant"))["totals"]["calls"] == MAX_ROWS + 1


async def test_it_is_authenticated_and_counted_but_not_metered() -> None:
    world = new_world(caller_limits={"tenant-admin": RateLimit(requests_per_minute=1, burst=1)})
    assert (await world.rest("GET", "/usage", token=None)).status == 401
    for _ in range(5):
        await _asked(world)
    refused = await world.rest("GET", "/usage?by=colour")
    assert (refused.status, refused.header("retry-after")) == (429, "12")
    await world.gateway.flush_refusals()
    assert [(event.tenant, event.calls) for event in world.events] == [("-", 1)]  # the stranger's


async def test_the_schema_is_public_and_valid(world: World) -> None:
    answer = await world.rest("GET", "/usage/schema", token=None)
    assert answer.header("content-type") == "application/schema+json"
    assert answer.json() == metering_event_schema()
    jsonschema_rs.validator_for(answer.json()).validate(json.loads(EVENTS[0].model_dump_json()))


async def test_work_is_done_one_at_a_time_and_a_crowd_is_refused() -> None:
    turns = OneAtATime(waiting=2)
    begun, going_on = threading.Semaphore(0), threading.Semaphore(0)
    active: list[int] = []

    def work() -> int:
        active.append(1)
        begun.release()
        assert going_on.acquire(timeout=20)
        at_once = len(active)
        active.pop()
        return at_once

    running = [asyncio.create_task(turns.run(work)) for _ in range(3)]
    await asyncio.to_thread(begun.acquire)
    with pytest.raises(QuotaExceeded):
        await turns.run(work)
    for _ in range(3):
        going_on.release()
    assert await asyncio.gather(*running) == [1, 1, 1]
    going_on.release()
    assert await turns.run(work) == 1


async def test_who_goes_away_leaves_the_turn_to_the_next_but_not_before_the_work_is_done() -> None:
    turns = OneAtATime(waiting=2)
    begun, going_on = threading.Event(), threading.Event()
    done: list[str] = []

    def slow() -> None:
        begun.set()
        assert going_on.wait(20)
        done.append("first")

    first = asyncio.create_task(turns.run(slow))
    await asyncio.to_thread(begun.wait)
    second = asyncio.create_task(turns.run(lambda: done.append("second")))
    third = asyncio.create_task(turns.run(lambda: done.append("third")))
    await asyncio.sleep(0)
    for gone in (first, second):
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert done == []
    going_on.set()
    await third
    assert done == ["first", "third"]


async def test_work_that_fails_tells_who_waits_for_it_and_gives_the_turn_on() -> None:
    turns = OneAtATime(waiting=0)

    def fail() -> None:
        raise OSError("disk")

    for _ in range(3):
        with pytest.raises(OSError, match="disk"):
            await turns.run(fail)


def test_pauses_are_made_when_there_was_work() -> None:
    pace = Pace(work_seconds=3600.0, pause_seconds=0.0)
    for _ in range(3):
        pace()


async def test_budgets_are_told_to_their_tenant_and_to_platform_admins() -> None:
    ledger, clock = InMemoryBudgetLedger(), ManualClock()
    both = [Budget(tenant=tenant, monthly=MicroUnits(4_000_000)) for tenant in ("alpha", "beta")]
    budgets = Budgets([*both, Budget(tenant="alpha", consumer="app", monthly=MicroUnits(0))], ledger, clock)
    world = new_world(budgets=budgets, clock=clock)
    (alpha,) = [one.account for one in await budgets.status(ALPHA) if one.account.owner.consumer is None]
    ledger.prime(alpha, MicroUnits(1_000_000))

    async def told(query: str = "", **rest: Any) -> list[tuple[Any, ...]]:
        answer = (await world.rest("GET", f"/budgets{query}", **rest)).json()["budgets"]
        return [(one["tenant"], one["consumer"], one["spent"], one["monthly"], one["percent"]) for one in answer]

    own = [("alpha", None, 1.0, 4.0, 25), ("alpha", "app", 0.0, 0.0, 100)]
    assert await told(token="alpha-admin") == own
    assert await told("?tenant_id=alpha", token="admin") == own
    assert await told(token="admin") == [*own, ("beta", None, 0.0, 4.0, 0)]
    assert await told("?tenant_id=beta", token="alpha-admin") == []
    assert (await world.rest("GET", "/budgets", token=None)).status == 401
    assert (await new_world().rest("GET", "/budgets")).json() == {"budgets": []}
