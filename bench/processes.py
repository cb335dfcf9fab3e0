"""Children of the benchmark: started in their own session with their output in a file, ended by process id,
and looked at through /proc (Linux only).
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import CannotMeasure

_CPUCLOCK_SCHED = 2
"""CPUCLOCK_SCHED in the kernel's linux/posix-timers.h: user and system time of all threads, also those that ended."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def on_processors(processors: Collection[int]) -> Generator[None]:
    """Confines this process, and what it starts within, to some processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its descendants have used so far."""

    cpu_seconds: float
    """User and system time."""
    rss_mib: float


class Child:
    """One started program."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self._log = log
        self._spent: dict[int, float] = {}
        """CPU seconds of each process of the tree, as last seen: some end in between."""
        with log.open("wb") as output:
            # A session of its own: Ctrl-C reaches the benchmark alone, which then ends its children in order.
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **env},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for_port(self, port: int, timeout_seconds: float) -> None:
        """Return as soon as somebody listens. Raises CannotMeasure when the child ends or the time is up."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise CannotMeasure(f"it ended with status {self._process.returncode}:\n{self.tail()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise CannotMeasure(f"it does not listen after {timeout_seconds:.0f} s:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        text = self._log.read_text(errors="replace").strip()
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])

    def usage(self) -> Usage:
        kib = 0
        for pid in _tree(self._process.pid):
            with contextlib.suppress(OSError):  # a helper process may end while we look
                # clock_getcpuclockid(3); /proc tells hundredths of a second, which is too coarse for short rounds.
                self._spent[pid] = time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
                kib += _rss_kib(pid)
        return Usage(sum(self._spent.values()), kib / 1024)

    def stop(self) -> None:
        """End the child and what it started: politely, then not."""
        pids = [pid for pid in _tree(self._process.pid) if pid != self._process.pid]
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pid in pids:
            if _session_of(pid) == self._process.pid:  # not a stranger who got the number since
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _tree(root: int) -> list[int]:
    """`root` and its descendants."""
    found = [root]
    for pid in found:  # grows while it is read
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
