"""The comparison that `python -m bench` makes: rounds of load go round the systems; prints one table."""

import argparse
import contextlib
import os
import sys
from collections.abc import Collection, Generator, Sequence
from pathlib import Path
from typing import Any

from bench import published
from bench.errors import CannotMeasure, NotInstalled
from bench.load import Load, Round, find_wrk
from bench.processes import on_processors
from bench.report import HEAD, Measured, as_json, rows, table, verdicts
from bench.systems import SYSTEMS, System
from bench.upstream import Upstream
from bench.wire import WIRE_FORMS, WireForm, verify

WARM_UP_SECONDS = 2


def run(directory: Path, arguments: Sequence[str]) -> int:
    options = _options_of(arguments)
    wrk = find_wrk()
    forms = list(WIRE_FORMS.values()) if options.wire == "both" else [WIRE_FORMS[options.wire]]
    problems: list[str] = []
    figures: dict[str, Any] | None = None
    with started(directory, options.only, forms, problems) as (upstream, systems):
        for form in forms:
            load = Load(wrk, upstream, form, options.connections, directory)
            measured = _measure(systems, load, form, options)
            problems += [failure for each in measured for failure in each.failures]
            _print(form, measured, options)
            if form is forms[0] and measured:
                figures = _figures(measured, options)
    if figures is None:
        raise CannotMeasure("\n".join(problems) or "no system was measured")
    return published.conclude("benchmark", figures, problems, is_to_publish=options.publish)


@contextlib.contextmanager
def started(
    directory: Path,
    names: Sequence[str],
    forms: Sequence[WireForm],
    problems: list[str],
    processors: Collection[int] | None = None,
) -> Generator[tuple[Upstream, list[System]]]:
    """nginx and those of the named systems that can be had and answer rightly; what is wrong with others is added to
    `problems`. `processors`: those of the systems; None: all."""
    with contextlib.ExitStack() as cleanup:
        upstream = Upstream(directory)
        cleanup.callback(upstream.stop)
        upstream.start()
        systems: list[System] = []
        for kind in SYSTEMS:
            if kind.name in names:
                system = kind(upstream.url, directory / kind.name)
                cleanup.callback(system.stop)
                with on_processors(processors or os.sched_getaffinity(0)):
                    if _is_started(system, forms, problems):
                        systems.append(system)
        yield upstream, systems


def _is_started(system: System, forms: Sequence[WireForm], problems: list[str]) -> bool:
    try:
        system.start()
        for form in forms:
            system.wait_until_right(form)
    except NotInstalled as reason:
        print(f"skipped: {system.name}: {reason}", file=sys.stderr)
    except CannotMeasure as problem:
        problems.append(f"{system.name} is not measured: {problem}")
    else:
        return True
    return False


def _measure(systems: list[System], load: Load, form: WireForm, options: argparse.Namespace) -> list[Measured]:
    """Rounds go round the systems, so that a slow spell of the machine hits all of them."""
    rounds: dict[str, list[Round]] = {system.name: [] for system in systems}
    for system in systems:
        load.run(system, WARM_UP_SECONDS)
    for number in range(1, options.rounds + 1):
        for system in systems:
            rounds[system.name].append(load.run(system, options.seconds))
        spent = "   ".join(f"{name} {done[-1].cpu_us_per_call:,.0f}" for name, done in rounds.items())
        print(f"{form.name} round {number}/{options.rounds}, CPU µs/call:   {spent}", flush=True)
    for system in systems:
        verify(system.target(form), form, system.item_of)
    return [Measured(each.name, each.version, each.idle_rss_mib, tuple(rounds[each.name])) for each in systems]


def _print(form: WireForm, measured: list[Measured], options: argparse.Namespace) -> None:
    if measured:
        seconds, connections = f"{options.rounds} x {options.seconds} s", f"{options.connections} connections"
        print(f"\nMCP {form.version} ({form.name}), medians of {seconds}, {connections}, {os.cpu_count()} CPUs")
        print(table(HEAD, rows(measured)))
        print(verdicts(measured), end="\n\n")


def _figures(measured: list[Measured], options: argparse.Namespace) -> dict[str, Any]:
    settings = {key: getattr(options, key) for key in ("rounds", "seconds", "connections", "wire")}
    return {"settings": settings, "machine": published.machine(), "systems": as_json(measured)}


def _options_of(arguments: Sequence[str]) -> argparse.Namespace:
    names = [kind.name for kind in SYSTEMS]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare the gateway side by side.")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds per system (default: 5)")
    parser.add_argument("--seconds", type=positive, default=4, help="seconds per round (default: 4)")
    parser.add_argument("--connections", type=positive, default=16, help="connections at once (default: 16)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SYSTEM", help=", ".join(names))
    parser.add_argument("--wire", choices=[*WIRE_FORMS, "both"], default="modern", help="MCP form (default: modern)")
    parser.add_argument("--publish", action="store_true", help="also replace the figures in docs/performance.md")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
