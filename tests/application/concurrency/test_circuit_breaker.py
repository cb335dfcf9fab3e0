"""A server that is away is asked by a probe, not by calls."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.application.concurrency.circuit_breaker import FAILURES, PROBE_SECONDS, CircuitBreaker
from stoa.testing.clock import ManualClock


class Server:
    """Answers probes as the test says; the pauses between them take no time."""

    def __init__(self) -> None:
        self.failure: BaseException | None = ConnectionRefusedError()
        self.probes = 0
        self.pauses: list[float] = []
        self.defects: list[str] = []
        self.breaker = CircuitBreaker(
            ManualClock(), sleep=self._sleep, report=lambda name, _: self.defects.append(name)
        )
        self.breaker.add(self._probe)

    async def _probe(self) -> None:
        self.probes += 1
        if self.failure is not None:
            raise self.failure

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    def fail(self, times: int = FAILURES) -> None:
        for _ in range(times):
            self.breaker.failed("TimeoutError")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)


async def test_circuit_breaker_opens_after_failures_in_a_row_and_says_so() -> None:
    server = Server()
    server.fail(FAILURES - 1)
    server.breaker.succeeded()
    server.fail(FAILURES - 1)
    assert not server.breaker.is_open
    assert server.breaker.health().findings == ()
    server.fail(1)
    assert server.breaker.is_open
    (finding,) = server.breaker.health().findings
    assert finding.startswith("REDIS_URL: the server does not answer since ")
    assert "TimeoutError" in finding
    assert server.breaker.health().is_ready
    await server.breaker.close()


@pytest.mark.parametrize("failure", [ConnectionRefusedError(), TimeoutError(), LookupError("nobody foresaw this")])
async def test_circuit_breaker_probes_until_the_server_answers_and_closes(failure: Exception) -> None:
    server = Server()
    server.failure = failure
    server.fail()
    await server.until(lambda: server.probes == 4)
    assert server.breaker.is_open
    server.failure = None
    await server.until(lambda: not server.breaker.is_open)
    assert server.pauses == [PROBE_SECONDS] * (server.probes - 1)
    assert bool(server.defects) is isinstance(failure, LookupError)
    assert server.breaker.health().findings == ()
    await server.breaker.close()


async def test_circuit_breaker_opens_again_for_the_next_outage() -> None:
    server = Server()
    for outage in range(1, 4):
        server.failure = ConnectionRefusedError()
        server.fail()
        assert (server.breaker.is_open, server.breaker.outages) == (True, outage)
        server.failure = None
        await server.until(lambda: not server.breaker.is_open)


async def test_circuit_breaker_closes_only_when_every_way_to_the_server_answers() -> None:
    server = Server()
    server.failure = None
    is_second_up: list[bool] = []

    async def second() -> None:
        if not is_second_up:
            raise TimeoutError

    server.breaker.add(second)
    server.fail()
    await server.until(lambda: server.probes == 3)
    assert server.breaker.is_open
    is_second_up.append(True)
    await server.until(lambda: not server.breaker.is_open)


@given(st.lists(st.booleans(), max_size=30))
def test_circuit_breaker_is_open_from_the_first_run_of_failures_on(answers: list[bool]) -> None:
    async def run() -> None:
        server = Server()
        for at, answer in enumerate(answers, 1):
            if answer:
                server.breaker.succeeded()
            else:
                server.breaker.failed("TimeoutError")
            runs = "".join("." if one else "x" for one in answers[:at])
            assert server.breaker.is_open is ("x" * FAILURES in runs)
        await server.breaker.close()

    asyncio.run(run())
