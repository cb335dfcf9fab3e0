"""`python -m bench descriptions FILE...`: a cold start with API descriptions, one ToolSet for each file.

Each row is one start as a shell starts it, with a new data folder: for each file alone, then for all of them. Memory is
the peak; that of the processes that convert is said apart. CPU times change little with what else the machine does,
seconds until it is ready change much.
"""

import shutil
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.e2e.manifests import tool_set, write
from tests.e2e.processes import GatewayProcess, serving

from bench.errors import CannotMeasure

NOBODY = "http://127.0.0.1:1"
READY_WITHIN = 300
SAMPLE_SECONDS = 0.02


def run(directory: Path, arguments: list[str]) -> int:
    files = [Path(argument) for argument in arguments]
    missing = [str(file) for file in files if not file.is_file()]
    if not files or missing:
        raise CannotMeasure(f"name OpenAPI documents: {', '.join(missing) or 'none is given'}")
    table = Table("descriptions", "ready after, s", "CPU, s", "peak, MiB", "converting: CPU, s", "peak, MiB")
    rows = [[file] for file in files]
    if len(files) > 1:
        rows.append(files)
    for number, row in enumerate(rows):
        home = directory / str(number)
        home.mkdir()
        table.add_row(" + ".join(file.parent.name or file.stem for file in row), *_measured(home, row))
    Console(width=110).print(table)
    return 0


def _measured(home: Path, files: Sequence[Path]) -> list[str]:
    gateway = GatewayProcess(home, precompiled=False, imports_itself=True)
    for number, file in enumerate(files):
        name = f"description{number}"
        copy = gateway.catalogue / f"{name}{file.suffix}.txt"  # no manifest, which is what the loader looks for
        shutil.copy(file, copy)
        write(gateway, f"{name}.manifest.yaml", tool_set(name, copy.name, NOBODY))
    with _watching(gateway) as children, serving(gateway, within=READY_WITHIN):
        spent, peak = gateway.cpu_seconds(), _peak_mib(gateway.pid)
    converting = [figures for figures in children.values() if figures[0] > 0]
    return [
        f"{gateway.ready_after:.1f}",
        f"{spent:.1f}",
        f"{peak:.0f}",
        " + ".join(f"{seconds:.1f}" for seconds, _ in converting),
        " + ".join(f"{mib:.0f}" for _, mib in converting),
    ]


@contextmanager
def _watching(gateway: GatewayProcess) -> Generator[dict[int, tuple[float, float]]]:
    """CPU seconds and peak memory of the gateway's child processes, as long as they were there."""
    children: dict[int, tuple[float, float]] = {}
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(SAMPLE_SECONDS):
            if gateway.process is None:
                continue
            for child in _children_of(gateway.pid):
                seconds, mib = children.get(child, (0.0, 0.0))
                children[child] = max(seconds, _cpu_seconds(child)), max(mib, _peak_mib(child))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield children
    finally:
        is_over.set()
        watching.join()


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _cpu_seconds(pid: int) -> float:
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100 if fields else 0.0


def _peak_mib(pid: int) -> float:
    lines = _read(f"/proc/{pid}/status").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _read(path: str) -> str:
    """The content of a file of a process, empty once the process is gone."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
