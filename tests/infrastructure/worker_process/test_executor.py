"""What a process can do that a thread cannot: end work that takes too much, and leave nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stoa.domain.errors import InvalidInput, Unavailable
from stoa.infrastructure.worker_process import ProcessExecutor, WorkLimits
from stoa.infrastructure.worker_process.limits import MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")

LIMITS = WorkLimits(cpu_seconds=60, memory_bytes=600 * MIB, result_bytes=2 * MIB)
ONE_SECOND = WorkLimits(cpu_seconds=1, memory_bytes=600 * MIB, result_bytes=2 * MIB)


@asynccontextmanager
async def executor(limits: WorkLimits = LIMITS, **options: Any) -> AsyncIterator[ProcessExecutor]:
    made = ProcessExecutor(limits, **options)
    try:
        yield made
    finally:
        await made.close()


def computing_for_ever() -> Iterator[int]:
    while True:
        pass
    yield 1


def waiting_for_ever() -> Iterator[int]:
    signal.pause()
    yield 1


def taking_memory() -> Iterator[int]:
    yield len(bytearray(2000 * MIB))


def taking_memory_in_pieces() -> Iterator[int]:
    kept: list[bytearray] = []
    while True:
        kept.append(bytearray(MIB))
        yield 1


def priority() -> Iterator[int]:
    yield os.getpriority(os.PRIO_PROCESS, 0)


def dying() -> Iterator[int]:
    os.kill(os.getpid(), signal.SIGSEGV)
    yield 1


def much() -> Iterator[bytes]:
    while True:
        yield bytes(MIB)


def environment() -> Iterator[dict[str, str]]:
    yield dict(os.environ)


def process_id() -> Iterator[int]:
    yield os.getpid()


def writing(path: str) -> Iterator[int]:
    yield Path(path).write_text("x" * 100)


def something_else() -> Iterator[object]:
    yield Path("/")


def imported(name: str) -> Iterator[bool]:
    yield name in sys.modules


async def test_a_process_that_was_begun_has_its_modules_and_does_the_first_run() -> None:
    async with executor(processes=1, modules=("tabnanny", "no_such_module")) as own:
        await own.begin()
        (begun,) = await own.run(process_id)
        assert await own.run(imported, "tabnanny") == [True]
        assert await own.run(process_id) == [begun]
    async with executor(processes=1) as other:
        assert await other.run(imported, "tabnanny") == [False]


async def test_a_process_that_was_begun_ends_without_work() -> None:
    async with executor(processes=1, idle_seconds=0.01) as own:
        await own.begin()
        worker = own._processes[0]._worker
        assert worker is not None
        assert await asyncio.to_thread(worker.process.wait) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("function", "limits", "reason"),
    [
        (computing_for_ever, ONE_SECOND, "takes more than 1 s of computing time"),
        (taking_memory, LIMITS, "needs more than 600 MiB of memory"),
        (taking_memory_in_pieces, LIMITS, "needs more than 600 MiB of memory|yields more than 2 MiB"),
        (dying, LIMITS, "ends the process that reads it"),
        (much, LIMITS, "yields more than 2 MiB"),
    ],
)
async def test_a_run_that_exceeds_a_limit_is_refused_and_the_next_one_is_not(
    function: Callable[[], Iterator[Any]], limits: WorkLimits, reason: str
) -> None:
    async with executor(limits) as own:
        with pytest.raises(InvalidInput, match=reason):
            await own.run(function)
        assert len(await own.run(process_id)) == 1


async def test_a_run_that_waits_instead_of_computing_can_be_tried_again_later() -> None:
    async with executor(WorkLimits(wall_seconds=0.5)) as own:
        with pytest.raises(Unavailable, match=r"within 0\.5 s"):
            await own.run(waiting_for_ever)


async def test_the_computing_time_of_earlier_runs_does_not_count() -> None:
    async with executor(ONE_SECOND) as own:
        for _ in range(4):
            assert len(await own.run(burning_for_a_while)) == 1


def burning_for_a_while() -> Iterator[int]:
    until = time.process_time() + 0.4
    while time.process_time() < until:
        pass
    yield 1


async def test_one_process_serves_many_runs() -> None:
    async with executor() as own:
        assert await own.run(process_id) == await own.run(process_id)


async def test_runs_at_the_same_time_have_processes_of_their_own_and_further_ones_wait() -> None:
    async with executor(processes=2) as own:
        runs = [asyncio.ensure_future(own.run(one_of_two, os.getpid())) for _ in range(2)]
        first, second = [run[0] for run in await asyncio.gather(*runs)]
        assert first != second
        third, fourth, fifth = await asyncio.gather(*(own.run(process_id) for _ in range(3)))
        assert {third[0], fourth[0], fifth[0]} <= {first, second}


def one_of_two(parent: int) -> Iterator[int]:
    """Goes on when `parent` has two processes."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    while len(children.read_text().split()) < 2:
        time.sleep(0.001)
    yield os.getpid()


async def test_one_run_after_the_other_is_done_by_one_process() -> None:
    async with executor(processes=2) as own:
        assert len({(await own.run(process_id))[0] for _ in range(4)}) == 1


async def test_a_process_without_work_ends_and_the_next_run_starts_another() -> None:
    async with executor(idle_seconds=0.0) as own:
        (first,) = await own.run(process_id)
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            while is_alive(first):
                await asyncio.sleep(0.01)
        (second,) = await own.run(process_id)
        assert first != second


async def test_a_closed_executor_leaves_no_process_and_no_zombie() -> None:
    async with executor() as own:
        (worker,) = await own.run(process_id)
        assert is_alive(worker)
    assert not Path(f"/proc/{worker}").exists()


async def test_a_cancelled_run_ends_its_process() -> None:
    async with executor() as own:
        (worker,) = await own.run(process_id)
        running = asyncio.ensure_future(own.run(waiting_for_ever))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(30):
            while is_alive(worker):
                await asyncio.sleep(0.01)


async def test_the_process_knows_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOA_TOKEN", "s3cr3t")
    async with executor() as own:
        (seen,) = await own.run(environment)
    assert "s3cr3t" not in seen.values()


async def test_the_process_writes_no_file(tmp_path: Path) -> None:
    async with executor() as own:
        with pytest.raises(InvalidInput):
            await own.run(writing, str(tmp_path / "a"))
    assert not (tmp_path / "a").read_bytes()


async def test_nothing_but_values_comes_out_of_the_process() -> None:
    async with executor() as own:
        with pytest.raises(InvalidInput, match="cannot be processed"):
            await own.run(something_else)
        assert len(await own.run(process_id)) == 1


_PARENT = """
import asyncio, sys
from stoa.infrastructure.worker_process import ProcessExecutor
from tests.infrastructure.worker_process.test_executor import process_id, computing_for_ever
async def main():
    own = ProcessExecutor()
    print((await own.run(process_id))[0], flush=True)
    await own.run(computing_for_ever)
asyncio.run(main())
"""


async def test_the_process_dies_with_its_parent_also_in_the_middle_of_a_run() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent:
        worker = int(await asyncio.to_thread(parent.stdout.readline))
        await asyncio.sleep(0.2)
        parent.kill()
    async with asyncio.timeout(30):
        while is_alive(worker):
            await asyncio.sleep(0.01)


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_the_process_gives_way_to_calls() -> None:
    async with executor() as one:
        assert await one.run(priority) == [min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)]
