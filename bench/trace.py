"""`python -m bench trace`: which functions one warm `tools/call` runs through, in which modules.

A figure for readers, not for speed: frames are the gateway's functions that were entered, changes of module how often a
reader who follows the call has to open another file. `--show` prints them in their order.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
from pathlib import Path
from typing import Any

from bench.warm_call import STATELESS, warm_call

_CALLS = range(100, 111)
_PACKAGE = "stoa."


def run(directory: Path, arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench trace")
    parser.add_argument("--version", default=STATELESS, help="revision of MCP (default: %(default)s)")
    parser.add_argument("--show", action="store_true", help="print every function, indented by its depth")
    options = parser.parse_args(arguments)
    traces = asyncio.run(_trace(directory, options.version))
    # The median: a timer of the loop or a callback of the garbage collector may fall into one of the calls.
    length = statistics.median_low(map(len, traces))
    trace = next(trace for trace in traces if len(trace) == length)
    modules = [module for module, _, _ in trace]
    changes = sum(module != following for module, following in itertools.pairwise(modules))
    if options.show:
        for module, function, depth in trace:
            print(f"{'  ' * depth}{module.removeprefix(_PACKAGE)}.{function}")
    print(f"{options.version}: {length} frames in {len(set(modules))} modules, {changes} changes of module")
    return 0


Entered = tuple[str, str, int]
"""Module, qualified name and depth of a function."""


async def _trace(directory: Path, version: str) -> list[list[Entered]]:
    traces: list[list[Entered]] = []

    def note(frame: Any, event: str, _: Any) -> None:
        module: str = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith(_PACKAGE):
            traces[-1].append((module, frame.f_code.co_qualname, _depth(frame)))

    async with warm_call(directory, version) as call:
        await asyncio.sleep(0)
        for number in _CALLS:
            traces.append([])
            sys.setprofile(note)
            try:
                await call(number)
            finally:
                sys.setprofile(None)
    return traces


def _depth(frame: Any) -> int:
    """How many of the gateway's functions are around it."""
    depth = 0
    while (frame := frame.f_back) is not None:
        depth += frame.f_globals.get("__name__", "").startswith(_PACKAGE)
    return depth
