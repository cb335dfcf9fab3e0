"""What only the file shows: it outlives its process, nobody else may read it, and trouble with it has a name."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stoa.application.tasks import task_record
from stoa.domain.access.identity import Principal
from stoa.domain.calls.task import Task, Work
from stoa.domain.errors import InvalidInput, TasksUnavailable
from stoa.infrastructure.sqlite import SqliteTaskStore
from stoa.testing.clock import ManualClock

ROOT = Path(__file__).resolve().parents[3]

OTHER_PROCESS = """
import asyncio, os, sys
from pathlib import Path
from stoa.testing.clock import ManualClock
from stoa.domain.access.identity import Principal
from stoa.domain.calls.task import Task, Work
from stoa.infrastructure.sqlite import SqliteTaskStore

async def main():
    clock = ManualClock()
    store = SqliteTaskStore(Path(sys.argv[1]), clock)
    task = Task.begin(Work(tool="dig", arguments={}), Principal.of("ann"), clock.now(), 30.0)
    await store.create(task)
    print(task.id, flush=True)
    os._exit(9)  # dies, and closes nothing

asyncio.run(main())
"""


def begun(clock: ManualClock) -> Task:
    return Task.begin(Work(tool="dig", arguments={}), Principal.of("ann"), clock.now(), 30.0)


async def test_a_task_outlives_the_process_that_kept_it(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    died = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert died.returncode == 9, died.stderr
    store = SqliteTaskStore(path, ManualClock())
    found = await store.find(died.stdout.strip())
    await store.close()
    assert found is not None
    assert (found.tool, found.owner) == ("dig", Principal.of("ann").identity_key)


async def test_only_its_owner_may_read_the_files(tmp_path: Path) -> None:
    clock = ManualClock()
    store = SqliteTaskStore(tmp_path / "tasks.db", clock)
    await store.create(begun(clock))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    await store.close()
    assert set(modes.values()) == {0o600}, modes


async def test_what_is_no_database_or_of_a_later_release_is_refused_with_a_reason(tmp_path: Path) -> None:
    clock = ManualClock()
    nonsense, later = tmp_path / "nonsense.db", tmp_path / "later.db"
    nonsense.write_bytes(b"this is no database, and long enough to be sure of it" * 20)
    database = sqlite3.connect(later)
    database.execute("PRAGMA user_version = 99")
    database.close()
    for path, reason in ((nonsense, "DatabaseError"), (later, "later release"), (tmp_path, "IsADirectoryError")):
        store = SqliteTaskStore(path, clock)
        with pytest.raises(TasksUnavailable, match=reason):
            await store.find("x")
        with pytest.raises(TasksUnavailable):
            await store.create(begun(clock))
        await store.close()


@pytest.mark.parametrize("record", [b"", b"[]", b'{"form":2}', b'{"form":1,"task":{}}', b"\xff"])
def test_a_record_that_is_none_is_refused(record: bytes) -> None:
    with pytest.raises(TasksUnavailable):
        task_record.load(record)


def test_what_json_cannot_carry_is_refused() -> None:
    circle: dict[str, object] = {}
    circle["again"] = circle
    with pytest.raises(InvalidInput, match="no JSON"):
        task_record.dump(Task.begin(Work(tool="x", arguments=circle), Principal.of("ann"), ManualClock().now(), 30.0))


def test_what_another_release_kept_is_not_guessed_at() -> None:
    record = task_record.dump(begun(ManualClock()))
    assert task_record.load(record).tool == "dig"
    with pytest.raises(TasksUnavailable, match="another release"):
        task_record.load(record.replace(b'"form":1', b'"form":2'))
