"""`python -m bench ratio`: what a governed call takes against a bare one, counted and not timed: Python functions,
bytecode instructions, and machine instructions in user mode under valgrind. The same code gives the same figures on a
busy machine, so CI fails when a ratio has grown.

Both calls run from the bytes of their request to those of their answer (`whole_call`). What the kernel does is not
counted, and both sides ask it for about the same.
"""

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvloop

from bench.counted_calls import CALLS, GROUPS
from bench.errors import CannotMeasure, NotInstalled
from bench.report import table
from bench.systems import REPOSITORY
from bench.whole_call import SYSTEMS, Call, whole_call

COMMITTED = {"functions": 0.89, "bytecodes": 1.19, "instructions": 0.95}
"""Governed to bare, at most: the figures of CPython 3.11. They may only fall; a change that needs more says so here."""
_CALLS = range(700_000, 700_011)

Counts = dict[str, dict[str, float]]
"""The counts of one call of each system, by the names of COMMITTED."""


def run(directory: Path, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench ratio")
    parser.add_argument("--without-valgrind", action="store_true", help="count no machine instructions")
    options = parser.parse_args(arguments)
    counts = python_counts(directory)
    if not options.without_valgrind:
        counts["instructions"] = instructions(directory)
    cells: list[list[str]] = []
    grown: list[str] = []
    for unit, of in counts.items():
        ratio = ratio_of(of)
        cells.append([unit, *(f"{of[system]:,.0f}" for system in SYSTEMS), f"{ratio:.3f}", f"{COMMITTED[unit]:.2f}"])
        if ratio > COMMITTED[unit]:
            grown.append(f"{unit}: {ratio:.3f} times a bare call, {COMMITTED[unit]:.2f} at most (bench/ratio.py)")
    print(table(("of one call", *SYSTEMS, "ratio", "at most"), cells))
    sys.stdout.flush()
    for problem in grown:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if grown else 0


def ratio_of(counts: dict[str, float]) -> float:
    return counts["gateway"] / counts["bare"]


def python_counts(directory: Path) -> Counts:
    """Python functions that are entered, and bytecode instructions, those of libraries included."""
    counts: Counts = {"functions": {}, "bytecodes": {}}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for system in SYSTEMS:
            folder = directory / f"python-{system}"
            folder.mkdir()
            counts["functions"][system], counts["bytecodes"][system] = runner.run(_python_counts(folder, system))
    return counts


async def _python_counts(directory: Path, system: str) -> tuple[float, float]:
    async with whole_call(directory, system) as call:
        return await _functions(call), await _bytecodes(call)


async def _functions(call: Call) -> float:
    entered = 0

    def note(_: Any, event: str, __: Any) -> None:
        nonlocal entered
        entered += event == "call"

    async def counted(number: int) -> int:
        nonlocal entered
        entered = 0
        sys.setprofile(note)
        try:
            await call(number)
        finally:
            sys.setprofile(None)
        return entered

    return await _typical(counted)


async def _bytecodes(call: Call) -> float:
    executed = 0

    def note(frame: Any, event: str, _: Any) -> Any:
        nonlocal executed
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        executed += event == "opcode"
        return note

    async def counted(number: int) -> int:
        nonlocal executed
        executed = 0
        sys.settrace(note)
        try:
            await call(number)
        finally:
            sys.settrace(None)
        return executed

    return await _typical(counted)


async def _typical(counted: Callable[[int], Awaitable[int]]) -> float:
    """The median of some calls: a timer of the loop or the garbage collector falls into one of them now and then."""
    return float(statistics.median_low([await counted(number) for number in _CALLS]))


def instructions(directory: Path) -> dict[str, float]:
    """Machine instructions in user mode. Raises CannotMeasure."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise NotInstalled("valgrind is not installed (Debian, Ubuntu: apt install valgrind)")
    with ThreadPoolExecutor() as pool:
        counts = pool.map(lambda system: _instructions(valgrind, directory / f"valgrind-{system}", system), SYSTEMS)
        return dict(zip(SYSTEMS, counts, strict=True))


def _instructions(valgrind: str, directory: Path, system: str) -> float:
    directory.mkdir()
    counts = directory / "counts"
    command = [valgrind, "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={counts}"]
    command += [sys.executable, "-m", "bench.counted_calls", str(directory), system]
    # Hashes of text decide how tables are laid out, and so how many instructions a look-up takes.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False
    )
    groups = [_total_of(path) for path in directory.glob(f"{counts.name}.*")]
    if done.returncode or len(groups) < GROUPS:
        raise CannotMeasure(f"under valgrind the calls ended with status {done.returncode}: {done.stderr[-800:]}")
    return min(groups) / CALLS


def _total_of(path: Path) -> int:
    total = re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE)
    return 0 if total is None else int(total[1])
