"""A flood of one sender stands before no other sender's request. The loop is a list of what it was asked to call."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.interfaces.doors import World
from tests.interfaces.http.listening import listening
from tests.interfaces.http.test_framing import sized

from stoa.interfaces.http.fair_starts import (
    AT_ONCE,
    EXCESS_SECONDS,
    MOST_WAITING,
    REFUSALS,
    REST_SECONDS,
    FairStarts,
)

FLOOD, HONEST = 1, 2


class Turns:
    """An event loop whose turns are taken by the test, and in which each request that begins is noted."""

    def __init__(self) -> None:
        self.starts = FairStarts()
        self.now = 1000.0
        self.begun: list[int] = []
        self._soon: list[Callable[[], object]] = []
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._soon.append(lambda: callback(*args))

    def call_later(self, seconds: float, callback: Callable[[], object]) -> None:
        self.timers.append((seconds, callback))

    def request(self, sender: int) -> None:
        if self.starts.may_begin(sender, self.now):
            self.begun.append(sender)
        else:
            loop = cast("asyncio.AbstractEventLoop", self)
            self.starts.begin_later(sender, self.now, loop, lambda: self.begun.append(sender))

    def refuse(self, times: int, sender: int = FLOOD) -> None:
        for _ in range(times):
            self.starts.note_excess(sender, self.now)

    def turn(self) -> list[int]:
        """The requests that begin in the next turn."""
        self.now += 0.001
        self.begun.clear()
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()
        return self.begun


@pytest.fixture
def turns() -> Turns:
    return Turns()


def test_fair_starts_begin_a_request_after_a_few_of_a_flood_only(turns: Turns) -> None:
    for _ in range(100):
        turns.request(FLOOD)
    turns.request(HONEST)
    assert turns.begun == [FLOOD] * AT_ONCE + [HONEST]


def test_fair_starts_begin_all_requests_of_a_flood_in_later_turns(turns: Turns) -> None:
    for _ in range(3 * AT_ONCE):
        turns.request(FLOOD)
    assert [len(turns.turn()) for _ in range(4)] == [AT_ONCE, AT_ONCE, 0, 0]


def test_fair_starts_divide_a_turn_among_the_senders_that_wait(turns: Turns) -> None:
    for sender in (FLOOD, HONEST):
        for _ in range(2 * AT_ONCE):
            turns.request(sender)
    assert sorted(turns.turn()) == [FLOOD] * (AT_ONCE // 2) + [HONEST] * (AT_ONCE // 2)


def test_fair_starts_keep_the_order_of_a_sender(turns: Turns) -> None:
    order: list[int] = []
    loop = cast("asyncio.AbstractEventLoop", turns)
    for number in range(3 * AT_ONCE):
        if turns.starts.may_begin(FLOOD, turns.now):
            order.append(number)
        else:
            turns.starts.begin_later(FLOOD, turns.now, loop, lambda number=number: order.append(number))
        if number == 2 * AT_ONCE:
            turns.turn()  # what comes while others wait stands behind them
    for _ in range(4):
        turns.turn()
    assert order == list(range(3 * AT_ONCE))


def test_fair_starts_hold_no_more_than_a_bound(turns: Turns) -> None:
    for _ in range(AT_ONCE + MOST_WAITING + 7):
        turns.request(FLOOD)
    assert len(turns.begun) == AT_ONCE + 7


def test_fair_starts_delay_a_sender_that_goes_on_after_refusals(turns: Turns) -> None:
    turns.refuse(REFUSALS)
    turns.request(FLOOD)
    assert turns.begun == [FLOOD]
    turns.refuse(1)
    turns.request(FLOOD)
    turns.request(HONEST)
    assert turns.begun == [FLOOD, HONEST]
    ((seconds, start),) = turns.timers
    start()
    assert (seconds, turns.begun) == (REST_SECONDS, [FLOOD, HONEST, FLOOD])


def test_fair_starts_delay_no_sender_that_waits_as_long_as_it_is_told(turns: Turns) -> None:
    for _ in range(3 * REFUSALS):
        turns.refuse(1)
        turns.now += EXCESS_SECONDS + 0.001  # the least Retry-After
        turns.request(FLOOD)
    assert (len(turns.begun), turns.timers) == (3 * REFUSALS, [])


async def test_fair_starts_answer_every_request_of_a_flood(world: World) -> None:
    """Many more than begin in one turn, of one caller, on one connection and on many, and another caller's."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    async with listening(world) as server:
        clients = [await server.connect() for _ in range(3 * AT_ONCE)]
        for client in clients:
            await client.send(sized(b"/mcp", body) * 3)
        for client in clients:
            for _ in range(3):
                answer = await client.response()
                assert answer is not None
                assert answer.json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
