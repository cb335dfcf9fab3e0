"""`python -m bench workers`: what a further worker brings, and how even the load is on the workers.

With one worker, gateway, nginx and wrk share one processor; with N workers they share N, and nginx and wrk have N
workers and threads as well. So each part has as much of a processor per worker in both arrangements, and the ratio of
calls/s is what the further workers bring. A control says what the machine gives: on the same N processors N gateways of
one worker, each with an nginx and a wrk of its own, which share nothing. What they lose to N times one, as by wake-ups
of the other processor, no gateway can gain. Balance: the calls of each worker, by their metering events.
"""

import argparse
import contextlib
import os
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import published
from bench.comparison import WARM_UP_SECONDS, positive
from bench.errors import CannotMeasure
from bench.load import Load, Round, find_wrk
from bench.processes import on_processors
from bench.report import spread_of, table
from bench.systems import SUCCESS, Gateway
from bench.upstream import Upstream
from bench.wire import STATELESS_REVISIONS

_FORM = STATELESS_REVISIONS
_CONNECTIONS = (16, 64, 256)
MOST_IMBALANCE = 0.2
"""Share by which the busiest worker may exceed an even one."""
LEAST_OF_EACH = 0.9
"""Share of calls/s that each of several workers has at least of one that shares nothing: 1.8 times with two where the
machine is twice as fast with two processors."""
LEAST_BUSY = 0.9
"""Share of its processors that an arrangement must have had, or the machine was busy with something else."""
_HEAD = (
    "connections",
    "arrangement",
    "calls/s",
    "quartiles",
    "x one",
    "quartiles",
    "CPU µs/call",
    "nginx",
    "busy",
    "busiest above even",
)


class Workers(Gateway):
    """The gateway with more than one worker."""

    needs_session = False

    def __init__(self, upstream_url: str, directory: Path, number: int) -> None:
        super().__init__(upstream_url, directory)
        self.number = number
        self.name = f"workers-{number}"

    def command(self) -> Sequence[str]:
        *command, _ = super().command()
        return [*command, str(self.number)]

    def calls_by_worker(self) -> Counter[str]:
        """Each worker writes segments of its own."""
        counts: Counter[str] = Counter()
        for path in self.outbox.glob("*.jsonl"):
            counts[path.name.rpartition("-")[0].rpartition("Z-")[2]] += path.read_bytes().count(SUCCESS)
        return counts


def imbalance(calls: Sequence[int]) -> float:
    """The busiest worker's calls above an even share, as a part of that share."""
    return max(calls) / (sum(calls) / len(calls)) - 1


@dataclass(frozen=True, slots=True)
class Place:
    """A gateway, an nginx and a wrk with as many workers and threads each."""

    processors: Collection[int]
    upstream: Upstream
    gateway: Workers
    directory: Path

    def run(self, connections: int, seconds: int) -> Round:
        number = self.gateway.number
        with on_processors(self.processors):
            load = Load(find_wrk(), self.upstream, _FORM, connections, self.directory, threads=number)
            return load.run(self.gateway, seconds)


@dataclass(frozen=True, slots=True)
class Arrangement:
    name: str
    places: Sequence[Place]
    workers: int

    def run(self, connections: int, seconds: int) -> list[Round]:
        """All places at once, with an equal part of the connections each."""
        with ThreadPoolExecutor(len(self.places)) as pool:
            return [*pool.map(lambda place: place.run(connections // len(self.places), seconds), self.places)]


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of one arrangement with so many connections."""

    connections: int
    arrangement: Arrangement
    rates: list[float]
    cpu_us: list[float]
    nginx_us: list[float]
    busy: list[float]
    """Processors that gateways, nginx and wrk took."""
    uneven: list[float]
    failures: list[str]

    def add(self, rounds: Sequence[Round], calls_by_worker: Sequence[int]) -> None:
        calls, rate = sum(done.calls for done in rounds), sum(done.calls_per_second for done in rounds)
        self.rates.append(rate)
        self.cpu_us.append(sum(done.calls * done.cpu_us_per_call for done in rounds) / calls)
        self.nginx_us.append(sum(done.calls * done.upstream_cpu_us_per_call for done in rounds) / calls)
        load_us = sum(done.calls * done.load_cpu_us_per_call for done in rounds) / calls
        self.busy.append(rate * (self.cpu_us[-1] + self.nginx_us[-1] + load_us) / 1e6)
        self.uneven.append(imbalance(calls_by_worker))
        self.failures.extend(failure for done in rounds for failure in done.failures)


def run(directory: Path, arguments: Sequence[str]) -> int:
    options = _options_of(arguments)
    number, processors = options.workers, sorted(os.sched_getaffinity(0))
    if not 1 < number <= len(processors):
        raise CannotMeasure(f"{number} workers cannot be measured on {len(processors)} processors")
    measured: list[Measured] = []
    with contextlib.ExitStack() as cleanup:
        one = _started(directory / "one", 1, processors[:1], cleanup)
        together = _started(directory / "together", number, processors[:number], cleanup)
        apart = [_started(directory / f"apart-{each}", 1, processors[:number], cleanup) for each in range(number)]
        arrangements = [
            Arrangement("1 worker", [one], 1),
            Arrangement(f"{number} workers", [together], number),
            Arrangement(f"{number} gateways apart", apart, number),
        ]
        for connections in _CONNECTIONS:
            measured += _measure(arrangements, connections, options)
    figures = _figures(measured, options)
    _print(figures)
    return published.conclude("workers", figures, _problems(measured, figures), is_to_publish=options.publish)


def _started(directory: Path, number: int, processors: Collection[int], cleanup: contextlib.ExitStack) -> Place:
    """So many workers of the gateway and of nginx on these processors."""
    directory.mkdir()
    with on_processors(processors):  # children inherit it
        upstream = Upstream(directory, number)
        cleanup.callback(upstream.stop)
        upstream.start()
        gateway = Workers(upstream.url, directory / "gateway", number)
        cleanup.callback(gateway.stop)
        gateway.start()
        gateway.wait_until_right(_FORM)
    return Place(processors, upstream, gateway, directory)


def _measure(arrangements: Sequence[Arrangement], connections: int, options: argparse.Namespace) -> list[Measured]:
    """Rounds go round the arrangements, so that a slow spell of the machine hits all of them."""
    measured = [Measured(connections, each, [], [], [], [], [], []) for each in arrangements]
    for arrangement in arrangements:
        arrangement.run(connections, WARM_UP_SECONDS)
    for _ in range(options.rounds):
        for done in measured:
            places = done.arrangement.places
            before = [place.gateway.calls_by_worker() for place in places]
            rounds = done.arrangement.run(connections, options.seconds)
            after = [place.gateway.calls_by_worker() for place in places]
            calls = [count for now, then in zip(after, before, strict=True) for count in (now - then).values()]
            done.add(rounds, calls + [0] * (done.arrangement.workers - len(calls)))
    rates = "   ".join(f"{done.arrangement.name} {median(done.rates):,.0f}" for done in measured)
    print(f"{connections} connections, calls/s:   {rates}", flush=True)
    return measured


def _figures(measured: Sequence[Measured], options: argparse.Namespace) -> dict[str, Any]:
    one = {done.connections: done.rates for done in measured if done.arrangement.workers == 1}
    return {
        "settings": {key: getattr(options, key) for key in ("rounds", "seconds", "workers")},
        "machine": published.machine(),
        "rows": [
            {
                "connections": done.connections,
                "arrangement": done.arrangement.name,
                "calls_per_second": asdict(spread_of(done.rates)),
                "to_one": asdict(
                    spread_of([rate / base for rate, base in zip(done.rates, one[done.connections], strict=True)])
                ),
                "cpu_us_per_call": median(done.cpu_us),
                "nginx_us_per_call": median(done.nginx_us),
                "busy_processors": median(done.busy),
                "busiest_above_even": median(done.uneven),
            }
            for done in measured
        ],
    }


def _print(figures: dict[str, Any]) -> None:
    cells: list[list[str]] = []
    for row in figures["rows"]:
        rate, to_one = row["calls_per_second"], row["to_one"]
        cells.append(
            [
                str(row["connections"]),
                row["arrangement"],
                f"{rate['median']:,.0f}",
                f"{rate['low']:,.0f}-{rate['high']:,.0f}",
                f"{to_one['median']:.2f}",
                f"{to_one['low']:.2f}-{to_one['high']:.2f}",
                f"{row['cpu_us_per_call']:,.0f}",
                f"{row['nginx_us_per_call']:,.0f}",
                f"{row['busy_processors']:.2f}",
                f"{row['busiest_above_even']:.0%}",
            ]
        )
    print(f"\n{table(_HEAD, cells)}")


def _problems(measured: Sequence[Measured], figures: dict[str, Any]) -> list[str]:
    problems = [failure for done in measured for failure in done.failures]
    rows = zip(measured, figures["rows"], strict=True)
    apart = {done.connections: row for done, row in rows if len(done.arrangement.places) > 1}
    for done, row in zip(measured, figures["rows"], strict=True):
        where, workers = f"{done.connections} connections, {done.arrangement.name}", done.arrangement.workers
        if row["busiest_above_even"] > MOST_IMBALANCE:
            problems.append(f"{where}: the busiest had {row['busiest_above_even']:.0%} more than an even share")
        if row["busy_processors"] < LEAST_BUSY * workers:
            problems.append(f"{where}: only {row['busy_processors']:.2f} processors; the machine was busy")
        least = LEAST_OF_EACH * apart[done.connections]["to_one"]["median"]
        if row["to_one"]["median"] < least and workers > 1:
            problems.append(f"{where}: {row['to_one']['median']:.2f} times one worker's calls/s, {least:.2f} at least")
    return problems


def _options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench workers")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=positive, default=3)
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 2, help="beside one (default: the CPUs)")
    parser.add_argument("--publish", action="store_true", help="also replace the figures in docs/performance.md")
    return parser.parse_args(arguments)
