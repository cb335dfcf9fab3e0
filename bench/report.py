"""From rounds to the figures that people read: medians, quartiles, ratios, an aligned table, and JSON for machines."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

from bench.load import Round

_BARS = (("bare", 1.1, 0.9), ("go", 1.3, 1.3))
"""CPU per call of the gateway against another system: at most, and the goal."""
BUSY = 0.2
"""Distance of the quartiles of CPU per call, as part of the median, above which the machine was busy with something
else."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median between its quartiles."""

    low: float
    median: float
    high: float

    @property
    def width(self) -> float:
        """The distance of the quartiles as a part of the median."""
        return (self.high - self.low) / self.median


def spread_of(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, middle, high)


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of one system in one wire form."""

    system: str
    version: str
    idle_rss_mib: float
    rounds: tuple[Round, ...]

    def values(self, field: str) -> list[float]:
        return [getattr(done, field) for done in self.rounds]

    def median(self, field: str) -> float:
        return float(median(self.values(field)))

    @property
    def cpu(self) -> Spread:
        return spread_of(self.values("cpu_us_per_call"))

    @property
    def failures(self) -> list[str]:
        return [f"{self.system}, round {n}: {text}" for n, done in enumerate(self.rounds, 1) for text in done.failures]


def ratios(measured: Sequence[Measured], to: str) -> dict[str, Spread]:
    """CPU per call of each system to that of `to`, round against the same round: what disturbs the machine disturbs
    neighbouring rounds alike. Empty where `to` was not measured."""
    by_name = {each.system: each for each in measured}
    if to not in by_name:
        return {}
    base = by_name[to].values("cpu_us_per_call")
    return {
        name: spread_of([mine / theirs for mine, theirs in zip(each.values("cpu_us_per_call"), base, strict=True)])
        for name, each in by_name.items()
    }


HEAD = ("system", "CPU µs/call", "quartiles", "x bare", "quartiles", "calls/s", "p50 ms", "p99 ms", "RSS MiB", "idle")


def rows(measured: Sequence[Measured]) -> list[list[str]]:
    """The cells below HEAD."""
    to_bare = ratios(measured, "bare")
    return [_row(each, to_bare.get(each.system)) for each in measured]


def table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Aligned for a terminal."""
    lines = [list(head), *map(list, cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def verdicts(measured: Sequence[Measured]) -> str:
    lines: list[str] = []
    for other, bar, goal in _BARS:
        ratio = ratios(measured, other).get("gateway")
        if ratio is not None:
            value = ratio.median
            words = "goal reached" if value <= goal else "bar reached" if value <= bar else "ABOVE THE BAR"
            aims = f"bar {bar:g}" + (f", goal {goal:g}" if goal != bar else "")
            lines.append(f"gateway to {other:8} {value:5.2f} of its CPU per call ({aims}): {words}")
    busy = [each.system for each in measured if each.cpu.width > BUSY]
    if busy:
        lines.append(f"The machine was busy: quartiles of {', '.join(busy)} lie far apart; run it again.")
    return "\n".join(lines)


def as_json(measured: Sequence[Measured]) -> dict[str, Any]:
    fields = ("calls_per_second", "p50_ms", "p99_ms", "upstream_cpu_us_per_call", "rss_mib")
    to_bare = ratios(measured, "bare")
    return {
        each.system: {
            "version": each.version,
            "idle_rss_mib": each.idle_rss_mib,
            "cpu_us_per_call": asdict(each.cpu),
            "cpu_to_bare": asdict(to_bare[each.system]) if to_bare else None,
            **{field: each.median(field) for field in fields},
            "rounds": [asdict(done) for done in each.rounds],
        }
        for each in measured
    }


def _row(each: Measured, to_bare: Spread | None) -> list[str]:
    return [
        f"{each.system} {each.version}".strip(),
        f"{each.cpu.median:,.0f}",
        f"{each.cpu.low:,.0f}-{each.cpu.high:,.0f}",
        "-" if to_bare is None else f"{to_bare.median:.2f}",
        "-" if to_bare is None else f"{to_bare.low:.2f}-{to_bare.high:.2f}",
        f"{each.median('calls_per_second'):,.0f}",
        f"{each.median('p50_ms'):.2f}",
        f"{each.median('p99_ms'):.2f}",
        f"{each.median('rss_mib'):.0f}",
        f"{each.idle_rss_mib:.0f}",
    ]
