"""What one governed tools/call over MCP may cost, in units that do not depend on the machine: Python functions called,
and bytes that are allocated at the same time. A change that needs more has to say so here."""

import asyncio
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bench.warm_call import Call, warm_call

CALLS = {"2026-07-28": 109, "2025-11-25": 118}
"""Python functions, those of libraries and of asyncio included. One of them finds the task that a shutdown may cut.
The call begins with its parsed head and ends with the bytes of its answer, the short way (docs/decisions/0069)."""
BYTES = 12 * 1024


@pytest.fixture(params=list(CALLS))
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def call(tmp_path: Path, version: str) -> AsyncIterator[Call]:
    async with warm_call(tmp_path, version) as made:
        yield made


async def test_the_functions_called_by_one_call_stay_within_their_budget(call: Call, version: str) -> None:
    counts: list[int] = []

    def count_calls(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            counts[-1] += 1

    await asyncio.sleep(0)
    for number in range(100, 111):
        counts.append(0)
        sys.setprofile(count_calls)
        try:
            await call(number)
        finally:
            sys.setprofile(None)
    # The least: a timer of the loop, a callback of the garbage collector or a slow disk adds to some of the calls.
    assert min(counts) <= CALLS[version], counts


async def test_the_memory_of_one_call_stays_within_its_budget(call: Call) -> None:
    held: list[int] = []
    tracemalloc.start()
    try:
        await call(200)
        for number in range(201, 205):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            await call(number)
            _, peak = tracemalloc.get_traced_memory()
            held.append(peak - before)
    finally:
        tracemalloc.stop()
    # The least: what outlives a call (lines of the audit log, counts) grows in steps, each within one of the calls.
    assert min(held) <= BYTES, held
