"""The open-loop load generator: latency counts from when a call should have been sent."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from bench.errors import CannotMeasure
from bench.open_loop import Latencies, OpenLoop, percentile
from bench.wire import MARK

TEMPLATE = f"POST /mcp HTTP/1.1\r\nHost: gw\r\nContent-Length: 6\r\n\r\n{MARK}"
REQUEST_BYTES = len(TEMPLATE)


class Clock:
    """Time that stands still until the server moves it on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def right(number: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{number}".encode()


@contextmanager
def served(answer: Callable[[int, str], bytes | None], connections: int) -> Iterator[int]:
    """A server that reads whole calls, each connection in a thread. `answer` gets how many it has answered before, and
    the call's number; None closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    answered = 0
    lock = threading.Lock()

    def serve() -> None:
        nonlocal answered
        connection, _ = listener.accept()
        with connection:
            while request := connection.recv(REQUEST_BYTES, socket.MSG_WAITALL):
                with lock:
                    reply = answer(answered, request[-6:].decode())
                    answered += 1
                if reply is None:
                    return
                connection.sendall(reply)

    threads = [threading.Thread(target=serve) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        for thread in threads:
            thread.join(30)
        listener.close()


def run(answer: Callable[[int, str], bytes | None], clock: Clock, connections: int = 1) -> Latencies:
    """Ten calls, one each tenth of a second."""
    with served(answer, connections) as port:
        generator = OpenLoop(port, TEMPLATE, connections, clock)
        try:
            return generator.run(rate=10, seconds=1)
        finally:
            generator.close()


def stalling(clock: Clock, seconds: float) -> Callable[[int, str], bytes]:
    """Answers the first call after so long, and all others at once."""

    def answer(answered: int, number: str) -> bytes:
        if not answered:
            clock.now += seconds
        return right(number)

    return answer


def test_open_loop_charges_a_stall_to_all_calls_that_were_due_meanwhile() -> None:
    clock = Clock()
    latencies = run(stalling(clock, 0.95), clock)
    assert latencies.ms == pytest.approx([50.0 + 100 * n for n in range(10)])
    assert latencies.kept == 1
    assert latencies.lag_ms == pytest.approx(0)


def test_open_loop_reports_calls_that_a_saturated_system_left_unsent() -> None:
    clock = Clock()
    latencies = run(stalling(clock, 1.5), clock)
    assert latencies.kept == pytest.approx(0.1)


def test_open_loop_reports_its_own_lag_where_a_connection_was_free() -> None:
    clock = Clock()
    assert run(stalling(clock, 0.95), clock, connections=2).lag_ms == pytest.approx(850)


def test_open_loop_counts_answers_that_are_not_right() -> None:
    clock = Clock()
    wrong = [
        lambda number: right(number).replace(b"200", b"503"),
        lambda _: right("000000"),
    ]

    def answer(answered: int, number: str) -> bytes:
        clock.now += 0.105  # a little more than the time between two calls
        return wrong[answered](number) if answered < len(wrong) else right(number)

    assert run(answer, clock).wrong == 2


def test_open_loop_reads_answers_that_come_in_parts() -> None:
    clock = Clock()

    def answer(_: int, number: str) -> bytes:
        clock.now += 0.105  # a little more than the time between two calls
        return right(number) if clock.now < 0.15 else right(number * 50_000).replace(b": 6", b": 300000")

    assert run(answer, clock).wrong == 0


def test_open_loop_gives_no_figure_when_a_connection_breaks() -> None:
    clock = Clock()
    with pytest.raises(CannotMeasure, match="closed"):
        run(lambda _, __: None, clock)


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (75, 3), (99, 4), (99.9, 4), (1, 1)])
def test_percentile_is_the_nearest_rank(percent: float, value: int) -> None:
    assert percentile([1, 2, 3, 4], percent) == value
