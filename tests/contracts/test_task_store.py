"""The laws of TaskStore, for every adapter. To add one, write what opens it for a folder that it may use: stores opened
for the same folder are two processes that share their tasks."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application import task_record
from stoa.application.memory.clock import ManualClock
from stoa.application.memory.task_store import InMemoryTaskStore
from stoa.application.ports import Clock, TaskStore
from stoa.domain.errors import QuotaExceeded
from stoa.domain.identity import Principal
from stoa.domain.task import Task, TaskError, Work
from stoa.infrastructure.task_files import FileTaskStore

PER_OWNER = 3
ANN, BOB = Principal.of("ann", tenant="acme"), Principal.of("bob", tenant="acme")

Pair = tuple[TaskStore, TaskStore]
Open = Callable[[Clock], Any]
"""Opens an async context: two views of one empty store, for three tasks of an owner."""


class _Memory:
    def __init__(self, _: Iterator[Path]) -> None:
        pass

    @asynccontextmanager
    async def __call__(self, clock: Clock) -> AsyncGenerator[Pair]:
        store = InMemoryTaskStore(clock, per_owner=PER_OWNER)
        yield store, store
        await store.close()


class _File:
    def __init__(self, folders: Iterator[Path]) -> None:
        self._folders = folders

    @asynccontextmanager
    async def __call__(self, clock: Clock) -> AsyncGenerator[Pair]:
        path = next(self._folders) / "new" / "tasks.db"
        first, second = (FileTaskStore(path, clock, per_owner=PER_OWNER) for _ in range(2))
        yield first, second
        await first.close()
        await second.close()


ADAPTERS: dict[str, Callable[[Iterator[Path]], Open]] = {"memory": _Memory, "file": _File}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Open:
    folders = (tmp_path_factory.mktemp("tasks") for _ in itertools.count())
    return ADAPTERS[request.param](folders)


def begun(clock: Clock, owner: Principal = ANN, **rest: Any) -> Task:
    return replace(Task.begin(Work(tool="dig", arguments={"n": [1, None]}), owner, clock.now(), 30.0), **rest)


async def test_what_one_process_keeps_another_finds_at_once(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock) as (here, there):
        task = begun(clock)
        assert await there.find(task.id) is None
        await here.create(task)
        assert await there.find(task.id) == task
        waiting = task.asked({"a": {"method": "roots/list", "params": {}}}, clock.now())
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
        await there.create(begun(clock, BOB))
        clock.advance(60)
        await there.create(begun(clock))
        with pytest.raises(QuotaExceeded):
            await here.create(begun(clock))


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
    task = Task.begin(Work(tool="dig", arguments=draw(OBJECT)), ANN, now, 30.0, draw(OBJECT))
    end = draw(st.sampled_from(["working", "told", "asked", "completed", "failed", "cancelled"]))
    match end:
        case "told":
            return task.renewed(now, 30.0, draw(st.text(st.characters(codec="utf-8"))))
        case "asked":
            return task.asked(draw(st.dictionaries(st.text(st.characters(codec="utf-8")), OBJECT)), now)
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
