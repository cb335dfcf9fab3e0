"""From rounds to the figures that people read: medians, ratios, an aligned table, and JSON for machines."""

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.load import Round

_BARS = (("bare", 0.5, 0.65), ("fastmcp", 12.0, 16.0))
"""Calls per second of the gateway against another system: at least, and the goal."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of one system in one wire form."""

    system: str
    version: str
    idle_rss_mib: float
    rounds: tuple[Round, ...]

    def median(self, field: str) -> float:
        return float(median(getattr(one, field) for one in self.rounds))

    @property
    def spread(self) -> float:
        """Slowest to fastest round as a part of the median: above 0.2 the machine was busy with something else."""
        rates = [one.calls_per_second for one in self.rounds]
        return (max(rates) - min(rates)) / median(rates)

    @property
    def failures(self) -> list[str]:
        return [f"{self.system}, round {n}: {text}" for n, one in enumerate(self.rounds, 1) for text in one.failures]


def ratios(measured: list[Measured]) -> dict[str, float]:
    """Round against the same round, and the median of that: what disturbs the machine disturbs neighbouring rounds
    alike. Only those whose two sides were measured."""
    by_name = {one.system: one for one in measured}
    found: dict[str, float] = {}
    gateway = by_name.get("gateway")
    for other, _, _ in _BARS:
        if gateway and other in by_name:
            found[f"calls_per_second_gateway_to_{other}"] = _ratio(gateway, by_name[other], "calls_per_second")
    for name, one in by_name.items():
        if name != "bare" and "bare" in by_name:
            found[f"cpu_{name}_to_bare"] = _ratio(one, by_name["bare"], "cpu_us_per_call")
    return found


def table(measured: list[Measured]) -> str:
    head = ["system", "calls/s", "spread", "p50 ms", "p99 ms", "CPU µs/call", "x bare", "RSS MiB", "idle MiB"]
    rows = [head, *(_row(one, ratios(measured)) for one in measured)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not n else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def verdicts(measured: list[Measured]) -> str:
    found = ratios(measured)
    lines: list[str] = []
    for other, bar, goal in _BARS:
        value = found.get(f"calls_per_second_gateway_to_{other}")
        if value is not None:
            words = "goal reached" if value >= goal else "bar reached" if value >= bar else "BELOW THE BAR"
            lines.append(f"gateway : {other:8} calls/s  {value:6.2f}  (bar {bar:g}, goal {goal:g}): {words}")
    return "\n".join(lines)


def as_json(measured: list[Measured]) -> dict[str, Any]:
    fields = ("calls_per_second", "p50_ms", "p99_ms", "cpu_us_per_call", "upstream_cpu_us_per_call", "rss_mib")
    systems = {
        one.system: {
            "version": one.version,
            "idle_rss_mib": one.idle_rss_mib,
            "spread": one.spread,
            "median": {field: one.median(field) for field in fields},
            "rounds": [asdict(each) for each in one.rounds],
        }
        for one in measured
    }
    return {"systems": systems, "ratios": ratios(measured)}


def _ratio(one: Measured, other: Measured, field: str) -> float:
    pairs = zip(one.rounds, other.rounds, strict=True)
    return float(median(getattr(mine, field) / getattr(theirs, field) for mine, theirs in pairs))


def _row(one: Measured, found: dict[str, float]) -> list[str]:
    to_bare = 1.0 if one.system == "bare" else found.get(f"cpu_{one.system}_to_bare")
    return [
        f"{one.system} {one.version}".strip(),
        f"{one.median('calls_per_second'):,.0f}",
        f"{one.spread:.0%}",
        f"{one.median('p50_ms'):.2f}",
        f"{one.median('p99_ms'):.2f}",
        f"{one.median('cpu_us_per_call'):,.0f}",
        "-" if to_bare is None else f"{to_bare:.2f}",
        f"{one.median('rss_mib'):.0f}",
        f"{one.idle_rss_mib:.0f}",
    ]
