"""The figures of a run where people find them: as JSON, as pictures, and as tables in docs/performance.md.

All of it is drawn from the JSON.
"""

import datetime
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import chart

DOCS = Path(__file__).parent.parent / "docs"
NAMES = {
    "bare": "bare pass-through",
    "gateway": "STOA, everything on",
    "go": "Go bridge",
    "fastmcp": "FastMCP",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One measurement that is published under a name."""

    table: Callable[[Mapping[str, Any]], str]
    """As Markdown."""
    picture: Callable[[Mapping[str, Any]], str]
    caption: str
    """Alternative text of the picture."""


def machine() -> dict[str, Any]:
    """The machine and the date, without which a figure means nothing."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpus": os.cpu_count(),
        "processor": model[1] if model else platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def write(name: str, figures: Mapping[str, Any], folder: Path) -> None:
    """The JSON and its picture."""
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (folder / f"{name}.svg").write_text(KINDS[name].picture(figures), encoding="utf-8")


def publish(name: str, figures: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Replaces what the documentation says of this measurement."""
    write(name, figures, docs / "pictures")
    page = docs / "performance.md"
    page.write_text(with_table(page.read_text(encoding="utf-8"), name, figures), encoding="utf-8")


def conclude(name: str, figures: Mapping[str, Any], problems: Sequence[str], *, is_to_publish: bool) -> int:
    """Writes the figures below var/, and into the documentation if that is asked for and they count. `problems`: the
    reasons why they do not, which are printed. Returns the exit status."""
    folder = DOCS.parent / "var"
    write(name, figures, folder)
    print(f"figures and chart: {folder / name}.json, {folder / name}.svg")
    if is_to_publish and not problems:
        publish(name, figures)
        print("docs/performance.md and docs/pictures now show this run")
    sys.stdout.flush()
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def with_table(page: str, name: str, figures: Mapping[str, Any]) -> str:
    """The page with table and picture between the marks of `name`."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    kind = KINDS[name]
    return f"{before}{begin}\n{kind.table(figures)}\n![{kind.caption}](pictures/{name}.svg)\n\n{end}{after}"


def said_of(figures: Mapping[str, Any]) -> str:
    """When and where, in words."""
    where = figures["machine"]
    return f"{where['date']}, {where['cpus']} cores of {where['processor']}, Python {where['python']}"


def markdown(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rounds_of(figures: Mapping[str, Any]) -> str:
    settings = figures["settings"]
    seconds, connections = settings["seconds"], settings["connections"]
    return f"{settings['rounds']} interleaved rounds of {seconds} s, {connections} connections"


def _calls_table(figures: Mapping[str, Any]) -> str:
    head = ("system", "CPU µs a call", "quartiles", "x bare", "quartiles", "calls/s", "p50 ms", "p99 ms", "idle MiB")
    cells: list[list[str]] = []
    for system, measured in figures["systems"].items():
        cpu, to_bare = measured["cpu_us_per_call"], measured["cpu_to_bare"]
        cells.append(
            [
                f"{NAMES[system]} {measured['version']}".strip(),
                f"{cpu['median']:,.0f}",
                f"{cpu['low']:,.0f}-{cpu['high']:,.0f}",
                *([f"{to_bare['median']:.2f}", f"{to_bare['low']:.2f}-{to_bare['high']:.2f}"] if to_bare else ["", ""]),
                f"{measured['calls_per_second']:,.0f}",
                f"{measured['p50_ms']:.2f}",
                f"{measured['p99_ms']:.2f}",
                f"{measured['idle_rss_mib']:.0f}",
            ]
        )
    return f"{said_of(figures)}; {_rounds_of(figures)}.\n\n{markdown(head, cells)}"


def _calls_picture(figures: Mapping[str, Any]) -> str:
    drawn: list[chart.Bar] = []
    for system, measured in figures["systems"].items():
        cpu, to_bare = measured["cpu_us_per_call"], measured["cpu_to_bare"]
        text = f"{cpu['median']:,.0f} µs" + (f", x {to_bare['median']:.2f}" if to_bare else "")
        is_ours = system == "gateway"
        drawn.append(chart.Bar(NAMES[system], cpu["median"], text, cpu["low"], cpu["high"], is_ours))
    return chart.bars("CPU of one tools/call, median and quartiles", said_of(figures), drawn)


def _latency_table(figures: Mapping[str, Any]) -> str:
    head = ("calls/s", "is", "system", "p50 ms", "p99 ms", "p99.9 ms")
    cells: list[list[str]] = []
    for step in figures["steps"]:
        for system, measured in step["systems"].items():
            kept = measured["is_kept"]
            values = [f"{measured[name]:.2f}" if kept else "saturated" for name in ("p50", "p99", "p99_9")]
            cells.append(
                [f"{step['rate']:,.0f}", f"{step['percent']} % of {NAMES[step['of']]}", NAMES[system], *values]
            )
    apart = ", the measured system on a processor of its own" if figures["settings"].get("is_apart") else ""
    return f"{said_of(figures)}; medians of {_rounds_of(figures)}{apart}.\n\n{markdown(head, cells)}"


def _latency_picture(figures: Mapping[str, Any]) -> str:
    drawn: list[chart.Bar] = []
    for step in figures["steps"]:
        for system, measured in step["systems"].items():
            label = f"{step['rate']:,.0f}/s {'STOA' if system == 'gateway' else system}"
            value = measured["p99"] if measured["is_kept"] else 0.0
            text = f"{value:.2f} ms" if measured["is_kept"] else "saturated"
            drawn.append(chart.Bar(label, value, text, is_ours=system == "gateway"))
    return chart.bars("p99 of the latency at a fixed rate, open loop", said_of(figures), drawn)


def _workers_table(figures: Mapping[str, Any]) -> str:
    head = ("connections", "", "calls/s", "x one worker", "quartiles", "CPU µs a call", "busiest above even")
    cells = [
        [
            str(row["connections"]),
            row["arrangement"],
            f"{row['calls_per_second']['median']:,.0f}",
            f"{row['to_one']['median']:.2f}",
            f"{row['to_one']['low']:.2f}-{row['to_one']['high']:.2f}",
            f"{row['cpu_us_per_call']:,.0f}",
            f"{row['busiest_above_even']:.0%}",
        ]
        for row in figures["rows"]
    ]
    settings = figures["settings"]
    rounds = f"{settings['rounds']} interleaved rounds of {settings['seconds']} s"
    return f"{said_of(figures)}; medians of {rounds}.\n\n{markdown(head, cells)}"


def _workers_picture(figures: Mapping[str, Any]) -> str:
    drawn: list[chart.Bar] = []
    for row in figures["rows"]:
        rate = row["calls_per_second"]
        label = f"{row['connections']}: {row['arrangement']}"
        text = f"{rate['median']:,.0f}, x {row['to_one']['median']:.2f}"
        drawn.append(
            chart.Bar(label, rate["median"], text, rate["low"], rate["high"], row["arrangement"].endswith("workers"))
        )
    return chart.bars("Calls per second by connections, a processor for each worker", said_of(figures), drawn)


def _many_table(figures: Mapping[str, Any]) -> str:
    head = ("a call beside", "CPU µs", "more than alone", "quartiles", "idle CPU")
    cells = [
        [
            name,
            f"{row['cpu_us']['median']:,.0f}",
            "" if name == "alone" else f"{row['to_alone']['median'] - 1:+.1%}",
            "" if name == "alone" else f"{row['to_alone']['low'] - 1:+.1%} to {row['to_alone']['high'] - 1:+.1%}",
            f"{row['idle']:.1%}",
        ]
        for name, row in figures["rows"].items()
    ]
    settings = figures["settings"]
    rounds = f"{settings['rounds']} interleaved rounds of {settings['calls']:,} calls"
    return f"{said_of(figures)}; medians of {rounds}.\n\n{markdown(head, cells)}"


def _many_picture(figures: Mapping[str, Any]) -> str:
    drawn = [
        chart.Bar(
            name,
            row["cpu_us"]["median"],
            f"{row['cpu_us']['median']:,.0f} µs, {row['to_alone']['median'] - 1:+.1%}",
            row["cpu_us"]["low"],
            row["cpu_us"]["high"],
            name != "alone",
        )
        for name, row in figures["rows"].items()
    ]
    return chart.bars("CPU of one tools/call beside many, median and quartiles", said_of(figures), drawn)


KINDS: dict[str, Kind] = {
    "benchmark": Kind(_calls_table, _calls_picture, "CPU of one tools/call by system"),
    "latency": Kind(_latency_table, _latency_picture, "p99 of the latency at fixed rates"),
    "workers": Kind(_workers_table, _workers_picture, "Calls per second with one worker and with several"),
    "many": Kind(_many_table, _many_picture, "CPU of a call beside many tools, principals and streams"),
}
