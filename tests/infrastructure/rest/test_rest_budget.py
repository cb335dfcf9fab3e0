"""What one call of a REST back end may cost on a kept connection, in a unit that does not depend on the machine."""

import sys
from typing import Any

from tests.infrastructure.rest.loopback import answer, context_of, loopback, rest_backend, rest_tool

from stoa.application.ports import BackendCall

FUNCTIONS = 42
"""Python functions from the call to its answer, without those of asyncio, in whose loop the peer runs too. With
aiohttp there were 145."""
_NOT_COUNTED = ("/tests/", "/asyncio/", "/selectors.py")


async def test_rest_call_stays_within_its_budget_of_functions() -> None:
    query = {"argument": "q", "name": "q", "location": "query", "style": "form", "explode": True}
    counts: list[int] = []

    def count_calls(frame: Any, event: str, _: Any) -> None:
        if event == "call" and not any(part in frame.f_code.co_filename for part in _NOT_COUNTED):
            counts[-1] += 1

    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        tool = rest_tool(server.url, parameters=[query])
        call: BackendCall = backend.prepare(tool)
        for number in range(10):
            counts.append(0)
            context = context_of(tool)
            sys.setprofile(count_calls)
            try:
                await call({"q": f"value {number}"}, context)
            finally:
                sys.setprofile(None)
    assert min(counts) <= FUNCTIONS, counts
