"""`python -m bench workers`: what a further worker brings, and how even the load is on the workers.

With one worker, gateway, nginx and wrk share one processor; with N workers they share N, and nginx and wrk have N
workers and threads as well. So each part has as much of a processor per worker in both arrangements, and the ratio of
calls/s is what the further workers bring. Balance: the calls of each worker, by their metering events.
"""

import argparse
import contextlib
import os
from collections import Counter
from collections.abc import Collection, Sequence
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
"""Share of one worker's calls/s that each of several has at least: 1.8 times with two."""
_HEAD = (
    "connections",
    "workers",
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
class Arrangement:
    """So many workers of the gateway, of nginx and threads of wrk on so many processors."""

    number: int
    processors: Collection[int]
    upstream: Upstream
    gateway: Workers

    def load(self, connections: int, directory: Path) -> Load:
        return Load(find_wrk(), self.upstream, _FORM, connections, directory, threads=self.number)


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of one arrangement with so many connections."""

    connections: int
    workers: int
    rounds: list[Round]
    uneven: list[float]

    @property
    def rates(self) -> list[float]:
        return [done.calls_per_second for done in self.rounds]

    @property
    def busy(self) -> float:
        """Processors that gateway and nginx took."""
        return median(
            done.calls_per_second * (done.cpu_us_per_call + done.upstream_cpu_us_per_call) / 1e6 for done in self.rounds
        )


def run(directory: Path, arguments: Sequence[str]) -> int:
    options = _options_of(arguments)
    processors = sorted(os.sched_getaffinity(0))
    if not 1 < options.workers <= len(processors):
        raise CannotMeasure(f"{options.workers} workers cannot be measured on {len(processors)} processors")
    measured: list[Measured] = []
    with contextlib.ExitStack() as cleanup:
        arrangements = [
            _arranged(directory / str(number), number, processors[:number], cleanup) for number in (1, options.workers)
        ]
        for connections in _CONNECTIONS:
            measured += _measure(arrangements, connections, directory, options)
    figures = _figures(measured, options)
    _print(figures)
    return published.conclude("workers", figures, _problems(measured, figures), is_to_publish=options.publish)


def _arranged(directory: Path, number: int, processors: Collection[int], cleanup: contextlib.ExitStack) -> Arrangement:
    directory.mkdir()
    with on_processors(processors):  # children inherit it
        upstream = Upstream(directory, number)
        cleanup.callback(upstream.stop)
        upstream.start()
        gateway = Workers(upstream.url, directory / "gateway", number)
        cleanup.callback(gateway.stop)
        gateway.start()
        gateway.wait_until_right(_FORM)
    return Arrangement(number, processors, upstream, gateway)


def _measure(
    arrangements: Sequence[Arrangement], connections: int, directory: Path, options: argparse.Namespace
) -> list[Measured]:
    """Rounds go round the arrangements, so that a slow spell of the machine hits all of them."""
    measured = [Measured(connections, arrangement.number, [], []) for arrangement in arrangements]
    loads = [arrangement.load(connections, directory) for arrangement in arrangements]
    for number in range(-1, options.rounds):
        for arrangement, load, done in zip(arrangements, loads, measured, strict=True):
            with on_processors(arrangement.processors):
                if number < 0:
                    load.run(arrangement.gateway, WARM_UP_SECONDS)
                    continue
                before = arrangement.gateway.calls_by_worker()
                done.rounds.append(load.run(arrangement.gateway, options.seconds))
                calls = [*(arrangement.gateway.calls_by_worker() - before).values()]
                done.uneven.append(imbalance(calls + [0] * (arrangement.number - len(calls))))
    rates = "   ".join(f"{done.workers} workers {median(done.rates):,.0f}" for done in measured)
    print(f"{connections} connections, calls/s:   {rates}", flush=True)
    return measured


def _figures(measured: Sequence[Measured], options: argparse.Namespace) -> dict[str, Any]:
    one = {done.connections: done.rates for done in measured if done.workers == 1}
    return {
        "settings": {key: getattr(options, key) for key in ("rounds", "seconds", "workers")},
        "machine": published.machine(),
        "rows": [
            {
                "connections": done.connections,
                "workers": done.workers,
                "calls_per_second": asdict(spread_of(done.rates)),
                "to_one": asdict(
                    spread_of([rate / base for rate, base in zip(done.rates, one[done.connections], strict=True)])
                ),
                "cpu_us_per_call": median(each.cpu_us_per_call for each in done.rounds),
                "nginx_us_per_call": median(each.upstream_cpu_us_per_call for each in done.rounds),
                "busy_processors": done.busy,
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
                str(row["workers"]),
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
    problems = [failure for done in measured for each in done.rounds for failure in each.failures]
    for row in figures["rows"]:
        where = f"{row['connections']} connections, {row['workers']} workers"
        if row["busiest_above_even"] > MOST_IMBALANCE:
            problems.append(f"{where}: the busiest had {row['busiest_above_even']:.0%} more than an even share")
        if row["to_one"]["median"] < LEAST_OF_EACH * row["workers"] and row["workers"] > 1:
            problems.append(f"{where}: {row['to_one']['median']:.2f} times one worker's calls/s, too few")
    return problems


def _options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench workers")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=positive, default=3)
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 2, help="beside one (default: the CPUs)")
    parser.add_argument("--publish", action="store_true", help="also replace the figures in docs/performance.md")
    return parser.parse_args(arguments)
