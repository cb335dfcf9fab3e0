"""`python -m bench workers`: what `--workers` brings, and how even the load is on the workers.

CPU per call says whether a worker costs more beside another; calls per second also depend on nginx and wrk, which share
the processors. Balance: the calls of each worker, by their metering events, with few connections and with many.
"""

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.comparison import WARM_UP_SECONDS, positive
from bench.load import Load, Round, find_wrk
from bench.report import spread_of, table
from bench.systems import SUCCESS, Gateway
from bench.upstream import Upstream
from bench.wire import STATELESS_REVISIONS

_FORM = STATELESS_REVISIONS
_CONNECTIONS = (16, 64, 256)
MOST_IMBALANCE = 0.2
"""Share by which the busiest worker may exceed an even one."""


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
            counts[path.name.rpartition("-")[0]] += path.read_bytes().count(SUCCESS)
        return counts


def imbalance(calls: Sequence[int]) -> float:
    """The busiest worker's calls above an even share, as a part of that share."""
    return max(calls) / (sum(calls) / len(calls)) - 1


def run(directory: Path, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench workers")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=positive, default=3)
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 2, help="beside one (default: the CPUs)")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as cleanup:
        upstream = Upstream(directory)
        cleanup.callback(upstream.stop)
        upstream.start()
        systems = [Workers(upstream.url, directory / str(number), number) for number in (1, options.workers)]
        for system in systems:
            cleanup.callback(system.stop)
            system.start()
            system.wait_until_right(_FORM)
        loads = {number: Load(find_wrk(), upstream, _FORM, number, directory) for number in _CONNECTIONS}
        rounds: dict[tuple[int, int], list[Round]] = {}
        balance: dict[int, list[float]] = {}
        for connections, load in loads.items():
            for system in systems:
                load.run(system, WARM_UP_SECONDS)
            for _ in range(options.rounds):
                for system in systems:
                    before = system.calls_by_worker()
                    rounds.setdefault((connections, system.number), []).append(load.run(system, options.seconds))
                    if system.number > 1:
                        calls = [*(system.calls_by_worker() - before).values()]
                        calls += [0] * (system.number - len(calls))
                        balance.setdefault(connections, []).append(imbalance(calls))
    return _print(rounds, balance)


def _print(rounds: dict[tuple[int, int], list[Round]], balance: dict[int, list[float]]) -> int:
    cells: list[list[str]] = []
    for (connections, workers), done in rounds.items():
        cpu = spread_of([each.cpu_us_per_call for each in done])
        rate = median(each.calls_per_second for each in done)
        all_cpu = median(
            each.calls_per_second * (each.cpu_us_per_call + each.upstream_cpu_us_per_call) / 1e6 for each in done
        )
        uneven = spread_of(balance[connections]) if workers > 1 else None
        cells.append(
            [
                str(connections),
                str(workers),
                f"{cpu.median:,.0f}",
                f"{cpu.low:,.0f}-{cpu.high:,.0f}",
                f"{rate:,.0f}",
                f"{all_cpu:.2f}",
                "-" if uneven is None else f"{uneven.median:.0%} ({uneven.low:.0%}-{uneven.high:.0%})",
            ]
        )
    head = ("connections", "workers", "CPU µs/call", "quartiles", "calls/s", "processors busy", "busiest above even")
    print(table(head, cells))
    failures = [failure for done in rounds.values() for each in done for failure in each.failures]
    failures += [
        f"{connections} connections: the busiest worker had {median(values):.0%} more than an even share"
        for connections, values in balance.items()
        if median(values) > MOST_IMBALANCE
    ]
    sys.stdout.flush()
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0
