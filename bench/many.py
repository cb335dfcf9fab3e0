"""`python -m bench many`: what 10,000 tools, 10,000 principals and 2,000 open streams change in the cost of a call.

Gateways with everything on. Calls go round them in short turns, many turns to a round, so that whatever disturbs the
machine disturbs all of them alike, and CPU per call is compared within each round. What a gateway needs in the same
time without calls, such as for pings on its streams, is taken off and shown beside it: it would fall upon the fewer
calls the slower the machine is at the moment.
"""

import argparse
import contextlib
import itertools
import json
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import published
from bench.comparison import positive
from bench.crowd import allow_connections
from bench.errors import CannotMeasure
from bench.open_loop import Connection
from bench.report import spread_of, table
from bench.systems import API_VERSION, Gateway
from bench.upstream import Upstream
from bench.wire import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, Target, open_session, template
from stoa.application.memory.clock import SystemClock
from stoa.infrastructure.oidc import DevIssuer
from stoa.interfaces.bootstrap import DEV_ISSUER

TOOLS, PRINCIPALS, STREAMS = 10_000, 10_000, 2_000
MOST_MORE = 0.05
"""Share that a call of one caller may cost more than with one tool, one principal and no stream."""
_IDLE_SECONDS = 5.0
_SESSIONS_OF_A_CALLER = 50
_AT_ONCE = 16
_CALLING = 1000
_ANSWER_SECONDS = 30.0
_TURN = 400
"""Calls after which another gateway's turn comes: less than a tenth of a second."""
_WARM_UP_CALLS = 4000


class Alone(Gateway):
    """One tool, one caller, no stream."""

    name = "alone"

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), "KEEP_ALIVE_SECONDS": "3600"}  # connections wait while others are made ready

    def prepare(self) -> None:
        """Brings about what is measured, once the gateway serves."""
        request = template(self.target(STATELESS_REVISIONS), STATELESS_REVISIONS)
        self.callers = deque(Caller(Connection(self.port), request) for _ in range(_AT_ONCE))

    def tokens(self, number: int) -> list[str]:
        """One token for each of `number` principals."""
        issuer = DevIssuer(self._directory / "data", DEV_ISSUER, "stoa-mcp-gateway", SystemClock(), "dev")
        return [
            issuer.issue(subject=f"agent-{n}", tenant="bench", roles=frozenset({"cpi-admin"}), lifetime_seconds=7200)
            for n in range(number)
        ]

    def make_calls(self, number: int) -> None:
        """Calls of the callers in turn. Raises CannotMeasure for an answer that is not right."""
        make_calls(self.callers, itertools.repeat(None, number))


class ManyTools(Alone):
    name = "10,000 tools"

    def _write_catalogue(self) -> None:
        super()._write_catalogue()
        document = {"openapi": "3.1.0", "info": {"title": "many", "version": "1"}, "paths": _paths(TOOLS - 1)}
        (self._catalogue / "many.json").write_text(json.dumps(document))
        spec: Mapping[str, Any] = {"openAPISpec": {"url": "many.json"}, "baseURL": self._upstream_url}
        manifest = {"apiVersion": API_VERSION, "kind": "ToolSet", "metadata": {"name": "many"}, "spec": spec}
        (self._catalogue / "many.yaml").write_text(json.dumps(manifest))


class ManyPrincipals(Alone):
    """So many have called."""

    name = "10,000 principals"

    def prepare(self) -> None:
        super().prepare()
        self._requests = [
            template(Target(self.port, token=token), STATELESS_REVISIONS) for token in self.tokens(PRINCIPALS)
        ]
        make_calls(self.callers, self._requests)


class CallingPrincipals(ManyPrincipals):
    """So many have called, and a part of them calls in turn, each over a connection of its own."""

    name = "10,000 principals, 1,000 calling"

    def prepare(self) -> None:
        super().prepare()
        self.callers = deque(Caller(Connection(self.port), request) for request in self._requests[:_CALLING])


class ManyStreams(Alone):
    """Sessions whose GET streams are open."""

    name = "2,000 streams"

    def prepare(self) -> None:
        self._streams = [
            self._open_stream(token)
            for token in self.tokens(STREAMS // _SESSIONS_OF_A_CALLER)
            for _ in range(_SESSIONS_OF_A_CALLER)
        ]
        super().prepare()  # last: a connection without a request is closed after some seconds

    def _open_stream(self, token: str) -> socket.socket:
        session = open_session(Target(self.port, token=token), HANDSHAKE_REVISIONS)
        fields = {
            "Host": f"127.0.0.1:{self.port}",
            "Accept": "text/event-stream",
            "Authorization": f"Bearer {token}",
            "MCP-Protocol-Version": HANDSHAKE_REVISIONS.version,
            "Mcp-Session-Id": session,
        }
        stream = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        stream.sendall(f"GET /mcp HTTP/1.1\r\n{lines}\r\n".encode())
        if not stream.recv(1 << 16).startswith(b"HTTP/1.1 200"):
            raise CannotMeasure("an event stream was refused")
        return stream


def _paths(number: int) -> dict[str, Any]:
    query = {"name": "q", "in": "query", "schema": {"type": "string"}}
    answers = {"200": {"description": "ok"}}
    return {
        f"/operation_{n}": {"get": {"operationId": f"operation_{n}", "parameters": [query], "responses": answers}}
        for n in range(number)
    }


@dataclass(slots=True)
class Caller:
    connection: Connection
    request: str
    """The template of its calls."""


def make_calls(callers: deque[Caller], requests: Iterable[str | None]) -> None:
    """One call for each of `requests`, of the callers in turn, 16 at once. None: the caller's own
    request. Raises CannotMeasure for an answer that is not right."""
    waiting = iter(requests)
    numbers = itertools.count(100_000)
    with selectors.DefaultSelector() as selector:

        def call_next() -> None:
            for request in itertools.islice(waiting, 1):
                caller = callers.popleft()
                caller.connection.send(request or caller.request, next(numbers), due=0)
                selector.register(caller.connection, selectors.EVENT_READ, caller)

        for _ in range(_AT_ONCE):
            call_next()
        while selector.get_map():
            ready = selector.select(_ANSWER_SECONDS)
            if not ready:
                raise CannotMeasure(f"a call was not answered within {_ANSWER_SECONDS:g} s")
            for key, _ in ready:
                caller = key.data
                is_right = caller.connection.receive()
                if is_right is None:
                    continue
                if not is_right:
                    raise CannotMeasure("an answer was not right")
                selector.unregister(caller.connection)
                callers.append(caller)
                call_next()


def run(directory: Path, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench many")
    parser.add_argument("--rounds", type=positive, default=8)
    parser.add_argument("--turns", type=positive, default=10, help=f"per round, of {_TURN} calls (default: 10)")
    parser.add_argument("--publish", action="store_true", help="also replace the figures in docs/performance.md")
    options = parser.parse_args(arguments)
    allow_connections(4 * STREAMS)
    spent: dict[str, list[float]] = {}
    idle: dict[str, float] = {}
    with contextlib.ExitStack() as cleanup:
        upstream = Upstream(directory)
        cleanup.callback(upstream.stop)
        upstream.start()
        gateways: list[Alone] = []
        kinds: tuple[Callable[[str, Path], Alone], ...] = (
            Alone,
            ManyTools,
            ManyPrincipals,
            CallingPrincipals,
            ManyStreams,
        )
        for number, kind in enumerate(kinds):
            gateway = kind(upstream.url, directory / f"gateway-{number}")
            cleanup.callback(gateway.stop)
            gateway.start()
            gateway.wait_until_right(STATELESS_REVISIONS, timeout_seconds=120)
            gateway.prepare()
            gateway.make_calls(_WARM_UP_CALLS)
            gateways.append(gateway)
            idle[gateway.name] = _idle_share(gateway)
            print(f"ready: {gateway.name}", flush=True)
        for _ in range(options.rounds):
            cpu = dict.fromkeys(idle, 0.0)
            for _ in range(options.turns):
                for gateway in gateways:
                    before, began = gateway.usage().cpu_seconds, time.monotonic()
                    gateway.make_calls(_TURN)
                    elapsed = time.monotonic() - began
                    cpu[gateway.name] += gateway.usage().cpu_seconds - before - idle[gateway.name] * elapsed
            for name, seconds in cpu.items():
                spent.setdefault(name, []).append(seconds / (options.turns * _TURN) * 1e6)
    settings = {"rounds": options.rounds, "calls": options.turns * _TURN}
    figures = {"settings": settings, "machine": published.machine(), "rows": _rows(spent, idle)}
    _print(figures["rows"])
    return published.conclude("many", figures, _problems(figures["rows"]), is_to_publish=options.publish)


def _idle_share(gateway: Gateway) -> float:
    """Part of one processor that it takes while nobody calls."""
    before = gateway.usage().cpu_seconds
    time.sleep(_IDLE_SECONDS)
    return (gateway.usage().cpu_seconds - before) / _IDLE_SECONDS


def _rows(spent: dict[str, list[float]], idle: dict[str, float]) -> dict[str, Any]:
    alone = spent[Alone.name]
    return {
        name: {
            "cpu_us": asdict(spread_of(values)),
            "to_alone": asdict(spread_of([value / base for value, base in zip(values, alone, strict=True)])),
            "idle": idle[name],
        }
        for name, values in spent.items()
    }


def _print(rows: dict[str, Any]) -> None:
    cells: list[list[str]] = []
    for name, row in rows.items():
        cpu, ratio = row["cpu_us"], row["to_alone"]
        cells.append(
            [
                name,
                f"{cpu['median']:,.0f}",
                f"{cpu['low']:,.0f}-{cpu['high']:,.0f}",
                f"{ratio['median'] - 1:+.1%}",
                f"{ratio['low'] - 1:+.1%} to {ratio['high'] - 1:+.1%}",
                f"{row['idle']:.1%}",
            ]
        )
    print(table(("a call beside", "CPU µs", "quartiles", "more", "quartiles", "idle CPU"), cells))


def _problems(rows: dict[str, Any]) -> list[str]:
    more = {name: row["to_alone"]["median"] - 1 for name, row in rows.items()}
    return [
        f"{name}: a call costs {part:.1%} more, {MOST_MORE:.0%} at most"
        for name, part in more.items()
        # Callers in turn are no neighbours of a call: each has its token verified once a minute, and cold caches.
        if part > MOST_MORE and name != CallingPrincipals.name
    ]
