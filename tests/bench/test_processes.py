"""The benchmark counts the CPU of its child processes."""

import os
import sys
import time
from pathlib import Path

from bench.processes import Child, on_processors

_BURN = """
import threading, time
def burn():
    while time.process_time() < 0.05: pass
thread = threading.Thread(target=burn)
thread.start()
thread.join()
print(time.process_time(), flush=True)
time.sleep(600)
"""


def test_processes_have_used_what_they_say_themselves_with_threads_that_ended(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", _BURN], env={}, cwd=tmp_path, log=tmp_path / "log")
    try:
        deadline = time.monotonic() + 60
        while not (text := child.tail()).strip():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert child.usage().cpu_seconds >= float(text) >= 0.05
    finally:
        child.stop()


def test_processes_started_within_are_confined_to_the_processors_and_this_one_is_not_afterwards(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    last = max(before)
    with on_processors({last}):
        command = [sys.executable, "-c", "import os; print(os.sched_getaffinity(0), flush=True)"]
        child = Child(command, env={}, cwd=tmp_path, log=tmp_path / "log")
    try:
        deadline = time.monotonic() + 60
        while not (text := child.tail()).strip():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        child.stop()
    assert text.strip() == str({last})
    assert os.sched_getaffinity(0) == before
