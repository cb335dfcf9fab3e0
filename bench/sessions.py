"""`python -m bench sessions`: what many open event streams cost, and whether a reconnect storm loses a message."""

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.crowd import Door, Session, Stream, Wire, allow_connections, listen
from bench.errors import CannotMeasure
from bench.session_server import WATCHED
from bench.systems import Gateway
from stoa.application.memory.clock import SystemClock
from stoa.infrastructure.oidc import DevIssuer
from stoa.interfaces.bootstrap import DEV_ISSUER

SOON = 60.0
"""Seconds that everything may take which is not measured."""
STEPS, PAUSE_MS = 12, 500
STORMS = 3
AWAY_SECONDS = 0.5
"""The last client comes back so long after the cut, the first at once."""
SESSIONS_OF_A_CALLER = 50
_AT_ONCE = 16
MAX_LISTENERS = 1024
"""Of one tenant."""


class SessionServer(Gateway):
    """The gateway as `stoa serve` runs it, with tools that make events; everybody is a platform administrator, with a
    token."""

    name = "sessions"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "bench.session_server", str(self.port)]

    def doors(self, sessions: int) -> list[Door]:
        """For so many sessions, each caller's: an agent that runs many times over has a hundred."""
        issuer = DevIssuer(self._directory / "data", DEV_ISSUER, "stoa-mcp-gateway", SystemClock(), "dev")
        tokens = [
            issuer.issue(subject=f"agent-{n}", tenant="bench", roles=frozenset({"cpi-admin"}), lifetime_seconds=3600)
            for n in range(-(-sessions // SESSIONS_OF_A_CALLER))
        ]
        return [Door(self.port, token) for token in tokens]

    def rss_kib(self) -> float:
        return self.usage().rss_mib * 1024


@dataclass(frozen=True, slots=True)
class Storm:
    """All connections were cut `storms` times while messages came."""

    connections: int
    back_seconds: tuple[float, ...]
    """After each cut, until the last client was back."""
    total_seconds: float
    messages: int
    """On each session's own stream."""
    failures: tuple[str, ...]


async def together(jobs: Sequence[Callable[[Wire], Coroutine[Any, Any, None]]], door: Door) -> None:
    """All jobs, over a few connections that they share."""
    waiting = iter(jobs)

    async def work() -> None:
        wire = await door.connect()
        for job in waiting:
            await job(wire)
        wire.cut()

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())


async def until(holds: Callable[[], bool], what: str, within: float = SOON) -> None:
    """Raises CannotMeasure."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise CannotMeasure(f"after {within:g} s still not: {what}")
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def crowd(doors: list[Door], number: int, watched: tuple[str, ...] = ()) -> AsyncGenerator[list[Session]]:
    """Sessions whose own streams are open."""
    door, sessions = doors[0], [Session(doors[n % len(doors)]) for n in range(number)]
    await together([lambda wire, one=session: one.open(wire, watched) for session in sessions], door)  # type: ignore[misc]
    async with asyncio.TaskGroup() as group:
        for session in sessions:
            group.create_task(session.own.run())
        try:
            await until(lambda: all(one.own.is_open.is_set() for one in sessions), "every session's stream is open")
            yield sessions
        finally:
            for session in sessions:
                session.own.stop()


async def broadcast_seconds(door: Door, sessions: list[Session], number: int) -> float:
    """From the first client that hears of a changed list to the last."""
    wire = await door.connect()
    heard = [len(one.own.events) for one in sessions]
    await sessions[0].post(wire, "tools/call", {"name": "change", "arguments": {"number": number}})
    wire.cut()

    def told() -> list[bool]:
        return [len(one.own.events) > before for one, before in zip(sessions, heard, strict=True)]

    await until(lambda: any(told()), "a client hears of the change")
    first = time.monotonic()
    await until(lambda: all(told()), "all clients hear of the change")
    return time.monotonic() - first


async def storm(door: Door, sessions: list[Session], *, storms: int = STORMS, pause_ms: int = PAUSE_MS) -> Storm:
    """Sessions watch WATCHED. The first is never cut: what it heard is what the others must have heard."""
    steady = sessions[0]
    answers = [one.asking("count", steps=STEPS, pause_ms=pause_ms) for one in sessions[1:]]
    streams = [*answers, *(one.own for one in sessions[1:])]
    for place, stream in enumerate(streams):
        stream.away_seconds = AWAY_SECONDS * place / len(streams)
    is_over = asyncio.Event()
    back: list[float] = []
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for answer in answers:
            group.create_task(answer.run())
        await until(lambda: all(one.is_open.is_set() for one in streams), "every call tells its steps")
        changing = group.create_task(_keep_changing(door, steady, is_over))
        for number in range(1, storms + 1):
            await until(lambda wanted=3 * number: len(_uris(steady.own)) >= wanted, "changes are heard of")  # type: ignore[misc]
            cut = [stream for stream in streams if stream.cut()]
            at = time.monotonic()
            await until(lambda cut=cut: all(_is_back(one) for one in cut), "every client is back")  # type: ignore[misc]
            back.append(time.monotonic() - at)
        is_over.set()
        wanted = await changing
        await until(lambda: len(_uris(steady.own)) >= wanted, "the steady client hears of every change")
    with contextlib.suppress(CannotMeasure):  # what is missing then is said below
        await until(lambda: all(_uris(one.own) == _uris(steady.own) for one in sessions), "all have heard", 10)
    total = time.monotonic() - began
    failures = [*_wrong_answers(answers), *_wrong_news(sessions, steady)]
    return Storm(len(streams), tuple(back), total, len(steady.own.events), tuple(failures))


def _is_back(stream: Stream) -> bool:
    return stream.is_open.is_set() or bool(stream.refused) or _is_answered(stream)


def _is_answered(stream: Stream) -> bool:
    return bool(stream.events) and "result" in stream.events[-1][1]


async def _keep_changing(door: Door, steady: Session, is_over: asyncio.Event) -> int:
    """One change after the other, each when the one before has been heard of; how many."""
    wire = await door.connect()
    number = 0
    while not is_over.is_set():
        await steady.post(wire, "tools/call", {"name": "change", "arguments": {"number": 2 + number}})
        number += 1
        await until(lambda wanted=number: len(_uris(steady.own)) >= wanted, "the steady client hears of a change")  # type: ignore[misc]
        await asyncio.sleep(0.05)
    wire.cut()
    return number


def _uris(stream: Stream) -> list[str]:
    return [message["params"]["uri"] for _, message in stream.events if message["method"].endswith("/updated")]


def _wrong_answers(answers: list[Stream]) -> list[str]:
    wrong = 0
    for answer in answers:
        steps = [message.get("params", {}).get("data") for _, message in answer.events]
        wrong += steps != [*range(1, STEPS + 1), None] or not _is_answered(answer)
    return [f"{wrong} of {len(answers)} calls were not told each step and the answer once"] if wrong else []


def _wrong_news(sessions: list[Session], steady: Session) -> list[str]:
    missing = repeated = unnumbered = 0
    for session in sessions:
        numbers = [int(event_id.rpartition(":")[2]) for event_id, _ in session.own.events]
        missing += _uris(session.own) != _uris(steady.own) and len(_uris(session.own)) < len(_uris(steady.own))
        repeated += len(set(numbers)) < len(numbers)
        unnumbered += numbers != list(range(numbers[0], numbers[0] + len(numbers))) if numbers else 1
    named = ((missing, "lost a message"), (repeated, "had one twice"), (unnumbered, "had a gap or disorder"))
    return [f"{count} of {len(sessions)} sessions {what}" for count, what in named if count]


async def measure_sessions(server: SessionServer, number: int) -> list[str]:
    """Prints the figures; returns what is wrong."""
    doors = server.doors(number)
    door = doors[0]
    async with crowd(doors, 50) as first:  # what is made once is made
        await broadcast_seconds(door, first, 0)
    await asyncio.sleep(1)
    before, began = server.rss_kib(), time.monotonic()
    async with crowd(doors, number, WATCHED) as sessions:
        opened = time.monotonic() - began
        await asyncio.sleep(1)
        print(f"{number} sessions of {len(doors)} callers, each with its GET stream open; opened in {opened:.1f} s")
        _say("memory", _grown(before, server.rss_kib(), number))
        told = await broadcast_seconds(door, sessions, 2)
        _say("list_changed", f"{told * 1000:.0f} ms from the first client told to the last")
        cpu = server.usage().cpu_seconds
        seen = await storm(door, sessions)
        cpu = server.usage().cpu_seconds - cpu
        back = ", ".join(f"{seconds:.1f}" for seconds in seen.back_seconds)
        _say(
            "reconnect storm",
            f"{seen.connections} connections cut, {len(seen.back_seconds)} times: back after {back} s",
        )
        told_to = f"{seen.messages} messages to each session, {STEPS + 1} on the stream of each call"
        _say("", f"{told_to}, in {seen.total_seconds:.1f} s with {cpu:.1f} s of CPU")
        _say("", "; ".join(seen.failures) or "nothing lost, nothing twice")
        _say("memory", f"{server.rss_kib() / 1024:.0f} MiB afterwards")
        return list(seen.failures)


async def measure_listeners(server: SessionServer, number: int) -> list[str]:
    """Prints the figures; returns what is wrong."""
    doors = server.doors(MAX_LISTENERS + 1)
    for wire in [await listen(doors[0], n) for n in range(50)]:
        wire.cut()
    await asyncio.sleep(1)
    before = server.rss_kib()
    wires = [await listen(doors[n % len(doors)], n) for n in range(number)]
    await asyncio.sleep(1)
    print(f"{number} subscriptions/listen streams of the stateless era")
    _say("memory", _grown(before, server.rss_kib(), number))
    wires += [await listen(doors[n % len(doors)], n) for n in range(number, MAX_LISTENERS)]
    failures = [f"a listener was answered with HTTP {wire.status}" for wire in wires if wire.status != 200][:1]
    beyond = await listen(doors[-1], 0)
    answer = await beyond.body() if beyond.status != 200 else {}
    _say(f"number {MAX_LISTENERS + 1}", f"HTTP {beyond.status}: {answer.get('error', {}).get('message')}")
    if beyond.status != 429:
        failures.append(f"listener {MAX_LISTENERS + 1} was answered with HTTP {beyond.status}, not 429")
    for wire in (*wires, beyond):
        wire.cut()
    return failures


def _say(what: str, figures: str) -> None:
    print(f"  {what:16}{figures}", flush=True)


def _grown(before_kib: float, after_kib: float, number: int) -> str:
    each = (after_kib - before_kib) / number
    return f"{each:.1f} KiB each ({before_kib / 1024:.0f} -> {after_kib / 1024:.0f} MiB resident)"


def run(directory: Path, options: argparse.Namespace) -> int:
    """The exit status: 1 when something was lost, repeated or refused."""
    allow_connections(2 * options.sessions + MAX_LISTENERS + 200)
    failures: list[str] = []
    for measure, number in ((measure_sessions, options.sessions), (measure_listeners, options.listeners)):
        server = SessionServer("", directory / measure.__name__)
        try:
            server.start()
            failures += asyncio.run(measure(server, number))
        except BaseExceptionGroup as several:
            problems = several.subgroup(CannotMeasure)
            while isinstance(problems, BaseExceptionGroup):
                problems = problems.exceptions[0]
            raise problems or several from several
        finally:
            server.stop()
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench sessions", description=__doc__)
    parser.add_argument("--sessions", type=int, default=2000, help="of the handshake era (default: 2000)")
    parser.add_argument("--listeners", type=int, default=1000, help="of the stateless era (default: 1000)")
    return parser.parse_args(arguments)
