"""TaskStore on SQLite. The file survives the death of the process and a power loss (write-ahead log, synchronous). Any
number of processes on one machine may open it, but not over a network file system.

SQLite blocks, so all work runs in one thread of its own. The file is opened on first use; only its owner may read it,
because it holds arguments and results.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from stoa.application.ports.clock import Clock
from stoa.application.ports.task_store import ABANDONED_AT_ONCE, TaskStore
from stoa.application.tasks import task_record
from stoa.application.tasks.caps import TASK_CAPS, TaskCaps, refusal
from stoa.domain.access.fair_share import Bound, Held, met, yields
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.task import Task
from stoa.domain.errors import TasksUnavailable

T = TypeVar("T")

_SCHEMA_VERSION = 2
_PATIENCE_SECONDS = 10.0
"""Timeout of waiting for another process that is writing."""
_STEPS = (
    """
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, version INTEGER NOT NULL, is_over INTEGER NOT NULL,
    expires_at REAL NOT NULL, record BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tasks_by_owner ON tasks (owner, expires_at);
CREATE INDEX IF NOT EXISTS tasks_by_end ON tasks (expires_at);
""",
    """
ALTER TABLE tasks ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
UPDATE tasks SET size = length(record);
CREATE INDEX IF NOT EXISTS tasks_by_holder ON tasks (tenant, owner, size, expires_at, id);
""",
)
"""Migrations from each version of the file to the next."""


class SqliteTaskStore(TaskStore):
    """Stores tasks in the file `path`, whose folder is created if missing."""

    def __init__(self, path: Path, clock: Clock, *, caps: TaskCaps = TASK_CAPS) -> None:
        self._path = path
        self._clock = clock
        self._caps = caps
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stoa-tasks")
        self._opened: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None

    async def create(self, task: Task) -> None:
        record = task_record.dump(task)
        await self._run(lambda: self._create(task, record))

    async def find(self, task_id: str) -> Task | None:
        record = await self._run(lambda: self._find(task_id))
        return None if record is None else task_record.load(record)

    async def replace(self, task: Task, over: int) -> bool:
        record = task_record.dump(task)
        return await self._run(lambda: self._replace(task, over, record))

    async def abandoned(self) -> Sequence[Task]:
        now = self._clock.now()
        tasks = map(task_record.load, await self._run(self._leased))
        return list(islice((task for task in tasks if task.is_abandoned(now)), ABANDONED_AT_ONCE))

    async def close(self) -> None:
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        with _translated(self._path):
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _create(self, task: Task, record: bytes) -> None:
        database, now = self._database(), self._clock.now().timestamp()
        with _transaction(database):
            database.execute("DELETE FROM tasks WHERE expires_at <= ?", (now,))
            self._make_room(database, task, 1, len(record))
            row = (task.id, task.owner, task.version, task.is_over, task.expires_at.timestamp(), record)
            database.execute(
                "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, _written(task.tenant), len(record))
            )

    def _make_room(self, database: sqlite3.Connection, task: Task, number: int, size: int) -> None:
        """Makes room for so many more tasks and bytes. Raises QuotaExceeded; then the transaction changes nothing."""
        for is_size, added, caps in ((False, number, self._caps.number), (True, size, self._caps.size)):
            while True:
                held = _held(database, task, is_size=is_size)
                bound = met(caps, held.figures, added)
                if bound is None:
                    break
                if bound is not Bound.ALL or held.largest is None or not yields(held.figures, added):
                    wait = _until_room(database, task, bound, self._clock.now().timestamp())
                    raise refusal(bound, is_size=is_size, retry_after_seconds=wait)
                database.execute(
                    "DELETE FROM tasks WHERE id = (SELECT id FROM tasks WHERE tenant = ?"
                    " ORDER BY is_over DESC, expires_at, id LIMIT 1)",
                    (held.largest,),
                )

    def _find(self, task_id: str) -> bytes | None:
        query = "SELECT record FROM tasks WHERE id = ? AND expires_at > ?"
        row = self._database().execute(query, (task_id, self._clock.now().timestamp())).fetchone()
        return None if row is None else bytes(row[0])

    def _leased(self) -> list[bytes]:
        """The tasks whose lease has ended or ends within a second, by the text of its time."""
        now = self._clock.now()
        query = (
            "SELECT record FROM tasks WHERE NOT is_over AND expires_at > ?"
            " AND json_extract(CAST(record AS TEXT), '$.task.lease_until') < ? LIMIT ?"
        )
        before = (now + timedelta(seconds=1)).astimezone(UTC).isoformat()
        rows = self._database().execute(query, (now.timestamp(), before, 2 * ABANDONED_AT_ONCE)).fetchall()
        return [bytes(row[0]) for row in rows]

    def _replace(self, task: Task, over: int, record: bytes) -> bool:
        database = self._database()
        with _transaction(database):
            before = database.execute("SELECT size FROM tasks WHERE id = ?", (task.id,)).fetchone()
            if before is None:
                return False
            self._make_room(database, task, 0, len(record) - before[0])
            changed = database.execute(
                "UPDATE tasks SET version = ?, is_over = ?, expires_at = ?, record = ?, size = ?"
                " WHERE id = ? AND version = ? AND NOT is_over AND expires_at > ?",
                (
                    *(task.version, task.is_over, task.expires_at.timestamp(), record, len(record)),
                    *(task.id, over, self._clock.now().timestamp()),
                ),
            )
        return changed.rowcount == 1

    def _database(self) -> sqlite3.Connection:
        if self._opened is not None and not self._is_here():
            self._close()  # no other process would find tasks written to it
        if self._opened is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's other files get the same mode
            database = sqlite3.connect(self._path, timeout=_PATIENCE_SECONDS, isolation_level=None)
            try:
                _prepare(database)
            except BaseException:
                database.close()
                raise
            self._opened = database
            self._file = self._path.stat()
        return self._opened

    def _is_here(self) -> bool:
        """True if the open file has not been removed or replaced."""
        try:
            return self._file is not None and os.path.samestat(self._file, self._path.stat())
        except OSError:
            return False

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise TasksUnavailable("The file of tasks was made by a later release of the gateway")
    if version < _SCHEMA_VERSION:
        with _transaction(database):  # processes that start together: one makes it, the others find it made
            (version,) = database.execute("PRAGMA user_version").fetchone()
            for step in _STEPS[version:]:
                for statement in filter(str.strip, step.split(";")):
                    database.execute(statement)
            database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


class _Holdings(NamedTuple):
    figures: Held
    largest: str | None
    """The tenant that holds most, except the task's own."""


def _held(database: sqlite3.Connection, task: Task, *, is_size: bool) -> _Holdings:
    tenant, column = _written(task.tenant), 1 if is_size else 0
    rows = database.execute("SELECT tenant, count(*), sum(size) FROM tasks GROUP BY tenant").fetchall()
    by_tenant: dict[str, int] = {row[0]: row[1 + column] for row in rows}
    own = database.execute(
        "SELECT count(*), total(size) FROM tasks WHERE tenant = ? AND owner = ?", (tenant, task.owner)
    ).fetchone()
    others = [holder for holder in by_tenant if holder != tenant]
    largest = max(others, key=by_tenant.__getitem__, default=None)
    most = 0 if largest is None else by_tenant[largest]
    return _Holdings(Held(int(own[column]), by_tenant.get(tenant, 0), sum(by_tenant.values()), most), largest)


def _until_room(database: sqlite3.Connection, task: Task, bound: Bound, now: float) -> float:
    """Seconds until the first task ends that counts towards the same bound."""
    (first,) = database.execute(
        "SELECT min(expires_at) FROM tasks WHERE ?1 = 'all' OR (tenant = ?2 AND (?1 = 'tenant' OR owner = ?3))",
        (bound.value, _written(task.tenant), task.owner),
    ).fetchone()
    return (task.expires_at.timestamp() if first is None else float(first)) - now


def _written(tenant: TenantId | None) -> str:
    """The tenant as text; tasks without one form a tenant of their own. The empty text comes from an earlier release,
    whose tasks end within the hour."""
    return "-" if tenant is None else f"+{tenant}"


@contextmanager
def _transaction(database: sqlite3.Connection) -> Generator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


@contextmanager
def _translated(path: Path) -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as caught:
        raise TasksUnavailable(f"Tasks cannot be kept at the moment ({path.name}: {type(caught).__name__})") from caught
