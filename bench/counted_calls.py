"""`valgrind --tool=callgrind --instr-atstart=no python -m bench.counted_calls DIRECTORY SYSTEM NUMBER` counts the
machine instructions of so many whole calls of a system, one after the other, and not those of its start."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from bench.whole_call import whole_call


async def main(directory: Path, system: str, number: int) -> None:
    async with whole_call(directory, system) as call:
        _switch("on")
        for called in range(200_000, 200_000 + number):
            await call(called)
        _switch("off")


def _switch(state: str) -> None:
    """Valgrind looks for commands while this process runs; blocked in a system call it could only be woken by a
    debugger's means, which not every container allows."""
    command = subprocess.Popen(
        ["vgdb", f"--pid={os.getpid()}", "instrumentation", state], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while command.poll() is None:
        time.sleep(0.001)
    if command.returncode:
        sys.exit(f"vgdb ended with status {command.returncode}; is this process run by valgrind?")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
