"""`python -m bench.counted_calls DIRECTORY SYSTEM=NUMBER ...` makes so many whole calls of each system, one after the
other. What one more of them costs is the difference of two runs."""

import asyncio
import sys
from pathlib import Path

import uvloop

from bench.whole_call import whole_calls


async def main(directory: Path, numbers: list[str]) -> None:
    async with whole_calls(directory) as calls:
        for system, _, number in (text.partition("=") for text in numbers):
            for called in range(200_000, 200_000 + int(number)):
                await calls[system](called)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1]), sys.argv[2:]))
