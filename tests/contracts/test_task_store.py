"""The laws of TaskStore, for every adapter. To add one, write what opens it twice over the same place, which is empty:
the two are processes that share their tasks."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.adapters import parameters
from tests.live.servers import free_port
from tests.services import connections

from stoa.application.memory.task_store import InMemoryTaskStore
from stoa.application.ports import Clock, TaskStore
from stoa.application.tasks import task_record
from stoa.application.tasks.caps import TaskCaps
from stoa.domain.access.fair_share import Caps
from stoa.domain.access.identity import Principal
from stoa.domain.calls.task import GivenAnswers, Task, TaskError, Work
from stoa.domain.errors import QuotaExceeded, TasksUnavailable
from stoa.infrastructure.redis import RedisTaskStore
from stoa.infrastructure.sqlite import SqliteTaskStore
from stoa.testing.clock import ManualClock

PER_OWNER, PER_TENANT, TOTAL = 3, 4, 6
CAPS = TaskCaps(Caps(PER_OWNER, PER_TENANT, TOTAL), Caps(8_000, 9_000, 12_000))
ANN, BOB = Principal.of("ann", tenant="acme"), Principal.of("bob", tenant="acme")

Pair = tuple[TaskStore, TaskStore]
Open = Callable[[Clock], Any]
"""Opens an async context: two views of one empty store, for three tasks of an owner."""


def _in_memory(_: pytest.FixtureRequest) -> Open:
    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncGenerator[Pair]:
        store = InMemoryTaskStore(clock, caps=CAPS)
        yield store, store
        await store.close()

    return opened


def _in_file(request: pytest.FixtureRequest) -> Open:
    folders: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")

    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncGenerator[Pair]:
        path = folders.mktemp("tasks") / "new" / "tasks.db"
        first, second = (SqliteTaskStore(path, clock, caps=CAPS) for _ in range(2))
        yield first, second
        await first.close()
        await second.close()

    return opened


def _in_redis(server: str) -> Callable[[pytest.FixtureRequest], Open]:
    def of(request: pytest.FixtureRequest) -> Open:
        url: str = request.getfixturevalue(server)

        @asynccontextmanager
        async def opened(clock: Clock) -> AsyncGenerator[Pair]:
            async with connections(url, url) as (one, two):
                first, second = (RedisTaskStore(redis, clock, caps=CAPS) for redis in (one, two))
                yield first, second
                await first.close()
                await second.close()

        return opened

    return of


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Open]] = {
    "memory": _in_memory,
    "file": _in_file,
    "in_process_redis": _in_redis("in_process_redis"),
    "real_redis": _in_redis("real_redis"),
}


@pytest.fixture(scope="session", params=parameters(ADAPTERS))
def open_store(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param](request)


def begun(clock: Clock, owner: Principal = ANN, **rest: Any) -> Task:
    return replace(Task.begin(Work(tool="dig", arguments={"n": [1, None]}), owner, clock.now(), 30.0), **rest)


async def test_what_one_process_keeps_another_finds_at_once(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        task = begun(clock)
        assert await there.find(task.id) is None
        await here.create(task)
        assert await there.find(task.id) == task
        waiting = task.requiring_input({"a": {"method": "roots/list", "params": {}}}, clock.now())
        assert await there.replace(waiting, task.version)
        assert await here.find(task.id) == waiting
        assert await here.find("other") is None
        assert not await here.replace(begun(clock), 1), "what was never created is not replaced"


async def test_of_changes_over_the_same_version_one_wins(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        task = begun(clock)
        await here.create(task)
        changes = [task.renewed(clock.now(), 30.0, f"from {number}") for number in range(8)]
        stores = itertools.cycle([here, there])
        won = await asyncio.gather(*(next(stores).replace(change, task.version) for change in changes))
        assert won.count(True) == 1
        assert await here.find(task.id) == changes[won.index(True)]
        assert not await there.replace(changes[0], task.version)


async def test_abandoned_tasks_are_those_that_work_and_whose_lease_has_ended(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        lost, alive, over = begun(clock), begun(clock), begun(clock)
        asking = begun(clock, BOB)
        for task in (lost, alive, over, asking):
            await here.create(task)
        await here.replace(over.cancelled(clock.now()), over.version)
        await here.replace(asking.requiring_input({"a": {}}, clock.now()), asking.version)
        clock.advance(29.5)
        assert await there.abandoned() == []
        renewed = alive.renewed(clock.now(), 30.0, None)
        await here.replace(renewed, alive.version)
        clock.advance(0.5)
        assert await there.abandoned() == [lost]
        clock.advance(29.5)
        assert {task.id for task in await there.abandoned()} == {lost.id, alive.id}
        failed = lost.failed(TaskError(-1, "lost"), clock.now())
        assert await there.replace(failed, lost.version)
        assert await here.abandoned() == [renewed]
        clock.advance(3600)
        assert await here.abandoned() == []


async def test_a_terminal_task_never_changes(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        task = begun(clock)
        await here.create(task)
        over = task.cancelled(clock.now())
        assert await here.replace(over, task.version)
        assert not await there.replace(replace(task, version=over.version + 1), over.version)
        assert await there.find(task.id) == over


async def test_an_expired_task_is_gone_for_good(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        task = begun(clock, ttl_seconds=60.0)
        await here.create(task)
        clock.advance(59.999)
        assert await there.find(task.id) == task
        clock.advance(0.001)
        assert await there.find(task.id) is None
        assert not await here.replace(task.cancelled(clock.now()), task.version)


async def test_an_owner_has_a_limited_number_of_tasks_and_learns_when_there_is_room(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        for number in range(PER_OWNER):
            await here.create(begun(clock, ttl_seconds=60.0 + number))
        with pytest.raises(QuotaExceeded) as full:
            await there.create(begun(clock))
        assert full.value.retry_after_seconds == pytest.approx(60)
        assert full.value.limit_name == "tasks of the caller"
        await there.create(begun(clock, BOB))
        clock.advance(60)
        await there.create(begun(clock))
        with pytest.raises(QuotaExceeded):
            await here.create(begun(clock))


CAL = Principal.of("cal", tenant="acme")
EVA, EVE = Principal.of("eva", tenant="beta"), Principal.of("eve", tenant="gamma")


def large(clock: Clock, owner: Principal, size: int) -> Task:
    return begun(clock, owner, work=Work(tool="dig", arguments={"text": "x" * size}))


async def test_tasks_of_a_tenant_are_limited_too(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        for owner in (ANN, ANN, BOB, BOB):
            clock.advance(1)
            await here.create(begun(clock, owner))
        with pytest.raises(QuotaExceeded) as full:
            await there.create(begun(clock, CAL))
        assert full.value.limit_name == "tasks of the tenant"
        assert full.value.retry_after_seconds == pytest.approx(3597)
        await there.create(begun(clock, EVA))


async def test_tasks_of_the_tenant_that_holds_most_give_way_to_one_below_its_share(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        evil = []
        for owner in (ANN, ANN, BOB, BOB):
            clock.advance(1)
            evil.append(begun(clock, owner))
            await here.create(evil[-1])
        for owner in (EVA, EVA, EVE):
            clock.advance(1)
            await there.create(begun(clock, owner))
        assert [await here.find(task.id) is not None for task in evil] == [False, True, True, True]
        with pytest.raises(QuotaExceeded) as full:
            await there.create(begun(clock, ANN))
        assert full.value.limit_name == "tasks of all tenants"


async def test_bytes_of_tasks_are_limited_and_what_grows_too_large_is_refused(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        task = begun(clock)
        await here.create(task)
        with pytest.raises(QuotaExceeded) as full:
            await there.create(large(clock, ANN, 8000))
        assert full.value.limit_name == "stored bytes of the tasks of the caller"
        with pytest.raises(QuotaExceeded) as full:
            await there.replace(task.completed({"text": "x" * 8000}, clock.now()), task.version)
        assert full.value.limit_name == "stored bytes of the tasks of the caller"
        assert await here.find(task.id) == task, "what was kept before stays"
        assert await there.replace(task.completed({"text": "x" * 6000}, clock.now()), task.version)
        with pytest.raises(QuotaExceeded) as full:
            await there.create(large(clock, BOB, 5000))
        assert full.value.limit_name == "stored bytes of the tasks of the tenant"
        for _ in range(2):
            await here.create(begun(clock, BOB))  # what was refused counts for nothing


async def test_bytes_of_tasks_of_the_tenant_that_holds_most_give_way(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        evil, eva = [], begun(clock, EVA)
        for owner in (ANN, BOB):
            clock.advance(1)
            evil.append(large(clock, owner, 3000))
            await here.create(evil[-1])
        await there.create(eva)
        assert await there.replace(eva.completed({"text": "x" * 5000}, clock.now()), eva.version)
        assert await there.find(eva.id) is not None
        await here.create(large(clock, EVE, 1000))
        assert [await here.find(task.id) is not None for task in evil] == [False, True]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECT = st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=3)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    now = draw(st.datetimes(timezones=st.just(ManualClock().now().tzinfo)))  # type: ignore[arg-type]
    now = min(max(now, ManualClock().now()), ManualClock().now() + timedelta(minutes=1))
    task = Task.begin(Work(tool="dig", arguments=draw(OBJECT)), ANN, now, 30.0, GivenAnswers(draw(OBJECT), {"a": "f"}))
    end = draw(st.sampled_from(["working", "told", "asked", "completed", "failed", "cancelled"]))
    match end:
        case "told":
            return task.renewed(now, 30.0, draw(st.text(st.characters(codec="utf-8"))))
        case "asked":
            return task.requiring_input(draw(st.dictionaries(st.text(st.characters(codec="utf-8")), OBJECT)), now)
        case "completed":
            return task.completed(draw(OBJECT), now)
        case "failed":
            return task.failed(TaskError(draw(st.integers(-40000, 40000)), "no", draw(JSON)), now)
        case "cancelled":
            return task.cancelled(now)
        case _:
            return task


@given(tasks())
@settings(deadline=None, max_examples=100)
def test_a_task_is_read_back_as_it_was_written(task: Task) -> None:
    assert task_record.load(task_record.dump(task)) == task


@given(tasks())
@settings(deadline=None, max_examples=20)
async def test_what_is_found_is_equal_to_what_was_kept(open_store: Open, task: Task) -> None:
    async with open_store(ManualClock()) as (here, there):
        await here.create(task)
        assert await there.find(task.id) == task


async def test_a_redis_that_is_away_is_said_so_and_gives_nothing_away() -> None:
    clock = ManualClock()
    async with connections(f"redis://user:pass-word@127.0.0.1:{free_port()}/0") as (redis,):
        store, task = RedisTaskStore(redis, clock), begun(clock)
        for attempt in (store.create(task), store.find(task.id), store.replace(task.cancelled(clock.now()), 1)):
            with pytest.raises(TasksUnavailable) as refused:
                await attempt
            assert refused.value.message == "Tasks cannot be kept at the moment"


async def test_in_redis_nothing_outlives_the_last_task_of_its_owner(in_process_redis: str) -> None:
    clock = ManualClock()
    async with connections(in_process_redis) as (redis,):
        store = RedisTaskStore(redis, clock)
        for ttl_seconds in (600.0, 60.0):
            await store.create(begun(clock, ttl_seconds=ttl_seconds))
        keys = await redis.client.keys(f"{redis.prefix}*")
        left = sorted([await redis.client.pttl(key) / 1000 for key in keys])
        assert left[0] == pytest.approx(120, abs=20)
        assert left[1:] == pytest.approx([660] * (len(left) - 1), abs=20)
