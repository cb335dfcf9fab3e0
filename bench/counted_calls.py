"""`valgrind --tool=callgrind --instr-atstart=no python -m bench.counted_calls DIRECTORY SYSTEM` counts the machine
instructions of whole calls of a system, one after the other, and not those of its start. Callgrind writes what each
group of CALLS took into a file of its own: what a system does each second falls into some, and adds to them."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from bench.whole_call import whole_call

GROUPS, CALLS = 15, 20


async def main(directory: Path, system: str) -> None:
    async with whole_call(directory, system) as call:
        _tell("instrumentation", "on")
        for group in range(GROUPS):
            for number in range(CALLS):
                await call(200_000 + group * CALLS + number)
            _tell("dump")
        _tell("instrumentation", "off")


def _tell(*command: str) -> None:
    """Valgrind looks for commands while this process runs; blocked in a system call it could only be woken by a
    debugger's means, which not every container allows."""
    vgdb = ["vgdb", f"--pid={os.getpid()}", *command]
    telling = subprocess.Popen(vgdb, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while telling.poll() is None:
        time.sleep(0.001)
    if telling.returncode:
        sys.exit(f"vgdb ended with status {telling.returncode}; is this process run by valgrind?")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1]), sys.argv[2]))
