"""`python -m bench latency`: the latency of calls at fixed rates, of the gateway beside the bare pass-through.

First the capacity of both, with all connections busy; then 25, 50 and 75 % of each capacity, both systems at the same
rate, rounds in turn. `open_loop` makes the load. The measured systems have the last processor to themselves, nginx and
the load the others: on shared ones a call waits, for milliseconds now and then, until the kernel takes the processor
from the generator, which says nothing about the system.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import published
from bench.comparison import WARM_UP_SECONDS, positive, started
from bench.errors import CannotMeasure
from bench.load import Load, find_wrk
from bench.open_loop import LEAST_KEPT, MOST_LAG_MS, Latencies, OpenLoop
from bench.processes import on_processors
from bench.report import table
from bench.systems import System
from bench.wire import STATELESS_REVISIONS, template

SHARES = (25, 50, 75)
BAR_MS = 0.3
"""Milliseconds that p99 of the gateway at half load may be above that of the pass-through."""
_FORM = STATELESS_REVISIONS
_CAPACITY_ROUNDS, _CAPACITY_SECONDS, _CAPACITY_CONNECTIONS = 3, 3, 16
_HEAD = ("calls/s", "is", "system", "p50 ms", "p99 ms", "p99.9 ms", "kept", "generator: lag ms", "CPU")


@dataclass(frozen=True, slots=True)
class Step:
    """Both systems at one rate."""

    rate: float
    percent: int
    of: str
    """The system whose capacity it is a part of."""
    rounds: dict[str, list[Latencies]]

    def median(self, system: str, percent: float) -> float:
        return median(done.percentile(percent) for done in self.rounds[system])

    def is_kept(self, system: str) -> bool:
        return median(done.kept for done in self.rounds[system]) >= LEAST_KEPT


def run(directory: Path, arguments: Sequence[str]) -> int:
    options = _options_of(arguments)
    *others, last = sorted(os.sched_getaffinity(0))
    if not others:
        raise CannotMeasure("two processors are needed: one for the measured system, one for nginx and the load")
    problems: list[str] = []
    with on_processors(others), started(directory, ("bare", "gateway"), [_FORM], problems, {last}) as started_systems:
        upstream, systems = started_systems
        if len(systems) < 2:
            raise CannotMeasure("\n".join(problems))
        load = Load(find_wrk(), upstream, _FORM, _CAPACITY_CONNECTIONS, directory)
        capacity = _capacities(load, systems)
        steps = [
            _step(systems, capacity[of] * percent / 100, percent, of, options) for of in capacity for percent in SHARES
        ]
    problems += [problem for step in steps for problem in _problems(step)]
    _print(steps)
    figures = _figures(steps, capacity, options)
    return published.conclude("latency", figures, problems, is_to_publish=options.publish)


def _capacities(load: Load, systems: Sequence[System]) -> dict[str, float]:
    """Calls per second with all connections busy."""
    rates: dict[str, list[float]] = {system.name: [] for system in systems}
    for system in systems:
        load.run(system, WARM_UP_SECONDS)
    for _ in range(_CAPACITY_ROUNDS):
        for system in systems:
            rates[system.name].append(load.run(system, _CAPACITY_SECONDS).calls_per_second)
    capacities = {name: median(values) for name, values in rates.items()}
    print("capacity:", ", ".join(f"{name} {rate:,.0f} calls/s" for name, rate in capacities.items()), flush=True)
    return capacities


def _step(systems: Sequence[System], rate: float, percent: int, of: str, options: argparse.Namespace) -> Step:
    step = Step(rate, percent, of, {system.name: [] for system in systems})
    for number in range(1, options.rounds + 1):
        for system in systems:
            generator = OpenLoop(system.port, template(system.target(_FORM), _FORM), options.connections)
            try:
                step.rounds[system.name].append(generator.run(rate, options.seconds))
            finally:
                generator.close()
        p99 = "   ".join(f"{name} {done[-1].percentile(99):.2f}" for name, done in step.rounds.items())
        print(f"{rate:,.0f}/s ({percent} % of {of}) round {number}/{options.rounds}, p99 ms:   {p99}", flush=True)
    return step


def _problems(step: Step) -> list[str]:
    """The reasons not to count a figure: wrong answers, and a generator that is late itself."""
    problems: list[str] = []
    for system, rounds in step.rounds.items():
        where = f"{system} at {step.rate:,.0f} calls/s"
        wrong = sum(done.wrong for done in rounds)
        if wrong:
            problems.append(f"{where}: {wrong} answers were not right")
        if median(done.lag_ms for done in rounds) > MOST_LAG_MS:
            problems.append(f"{where}: the generator was late itself by more than {MOST_LAG_MS:g} ms")
    return problems


def _print(steps: Sequence[Step]) -> None:
    cells: list[list[str]] = []
    for step in steps:
        for system, rounds in step.rounds.items():
            cells.append(
                [
                    f"{step.rate:,.0f}",
                    f"{step.percent} % of {step.of}",
                    system,
                    *(f"{step.median(system, percent):.2f}" for percent in (50, 99, 99.9)),
                    f"{median(done.kept for done in rounds):.0%}" + ("" if step.is_kept(system) else " (saturated)"),
                    f"{median(done.lag_ms for done in rounds):.2f}",
                    f"{median(done.cpu_share for done in rounds):.0%}",
                ]
            )
    print(f"\n{table(_HEAD, cells)}")
    for step in steps:
        if step.percent == 50 and all(map(step.is_kept, step.rounds)) and not _problems(step):
            more = median(
                ours.percentile(99) - bare.percentile(99)
                for ours, bare in zip(step.rounds["gateway"], step.rounds["bare"], strict=True)
            )
            words = "bar reached" if more <= BAR_MS else "ABOVE THE BAR"
            print(f"p99 at half of {step.of}'s capacity: {more:+.2f} ms to the pass-through (bar {BAR_MS:g}): {words}")
    print()


def _figures(steps: Sequence[Step], capacity: dict[str, float], options: argparse.Namespace) -> dict[str, Any]:
    return {
        "settings": {**{key: getattr(options, key) for key in ("rounds", "seconds", "connections")}, "is_apart": True},
        "machine": published.machine(),
        "capacity": capacity,
        "steps": [
            {
                "rate": step.rate,
                "percent": step.percent,
                "of": step.of,
                "systems": {
                    system: {
                        "p50": step.median(system, 50),
                        "p99": step.median(system, 99),
                        "p99_9": step.median(system, 99.9),
                        "is_kept": step.is_kept(system),
                        "lag_ms": median(done.lag_ms for done in rounds),
                    }
                    for system, rounds in step.rounds.items()
                },
            }
            for step in steps
        ],
    }


def _options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench latency")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds per rate and system (default: 3)")
    parser.add_argument("--seconds", type=positive, default=8, help="seconds per round (default: 8)")
    parser.add_argument("--connections", type=positive, default=32, help="connections at most (default: 32)")
    parser.add_argument("--publish", action="store_true", help="also replace the figures in docs/performance.md")
    return parser.parse_args(arguments)
