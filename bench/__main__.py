"""`python -m bench`: starts the upstream and the systems, alternates rounds of load between them, prints the result and
ends everything it started, also on Ctrl-C, SIGTERM or failure."""

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from bench import mcp_proxy, sessions, stages, trace
from bench.errors import CannotMeasure, NotInstalled
from bench.load import Load, Round, find_wrk
from bench.report import Measured, as_json, table, verdicts
from bench.systems import REPOSITORY, SYSTEMS, System
from bench.upstream import Upstream
from bench.wire import WIRE_FORMS, WireForm, verify

_WARM_UP_SECONDS = 2


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if sys.argv[1:2] == ["sessions"]:
            options = sessions.options_of(sys.argv[2:])
            with _directory() as directory:
                return sessions.run(directory, options)
        if sys.argv[1:2] == ["stages"]:
            return stages.run(sys.argv[2:])
        if sys.argv[1:2] == ["trace"]:
            with _directory() as directory:
                return trace.run(directory, sys.argv[2:])
        if sys.argv[1:2] == ["back-ends"]:
            from bench import back_ends  # needs what the tests need

            with _directory() as directory:
                return back_ends.run(directory, back_ends.options_of(sys.argv[2:]))
        if sys.argv[1:2] == ["mcp"]:
            with _directory() as directory:
                return mcp_proxy.run(directory, sys.argv[2:])
        if sys.argv[1:] == ["standing"]:
            from bench import standing  # needs what the tests need

            with _directory() as directory:
                return standing.run(directory)
        if sys.argv[1:] == ["memory"]:
            from bench import memory  # needs what the tests need

            with _directory() as directory:
                return memory.run(directory)
        if (command := sys.argv[1] if len(sys.argv) > 1 else "") in {"kafka-kill", "kafka-down"}:
            from bench import metering  # needs what the tests need

            with _directory() as directory:
                return metering.COMMANDS[command](directory, metering.options_of(command, sys.argv[2:]))
        return _measure_all(_options())
    except CannotMeasure as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def _measure_all(options: argparse.Namespace) -> int:
    wrk = find_wrk()
    forms = list(WIRE_FORMS.values()) if options.wire == "both" else [WIRE_FORMS[options.wire]]
    problems: list[str] = []
    results: dict[str, list[Measured]] = {}
    with contextlib.ExitStack() as cleanup:
        directory = cleanup.enter_context(_directory())
        upstream = Upstream(directory)
        cleanup.callback(upstream.stop)
        upstream.start()
        systems: list[System] = []
        for kind in SYSTEMS:
            if kind.name in options.only:
                system = kind(upstream.url, directory / kind.name)
                cleanup.callback(system.stop)
                if _is_started(system, forms, problems):
                    systems.append(system)
        for form in forms:
            load = Load(wrk, upstream, form, options.connections, directory)
            results[form.name] = _measure(systems, load, form, options)
            _print(form, results[form.name], options)
    problems += [failure for measured in results.values() for one in measured for failure in one.failures]
    sys.stdout.flush()
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if options.json:
        _write_json(options, results, problems)
    return 1 if problems else 0


def _is_started(system: System, forms: list[WireForm], problems: list[str]) -> bool:
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
        load.run(system, _WARM_UP_SECONDS)
    for number in range(1, options.rounds + 1):
        for system in systems:
            done = load.run(system, options.seconds)
            rounds[system.name].append(done)
            progress = f"{form.name} round {number}/{options.rounds} {system.name:8}"
            print(f"{progress} {done.calls_per_second:9,.0f} calls/s {done.cpu_us_per_call:9,.0f} µs/call", flush=True)
    for system in systems:
        verify(system.target(form), form, system.item_of)
    return [Measured(each.name, each.version, each.idle_rss_mib, tuple(rounds[each.name])) for each in systems]


def _print(form: WireForm, measured: list[Measured], options: argparse.Namespace) -> None:
    if measured:
        seconds, connections = f"{options.rounds} x {options.seconds} s", f"{options.connections} connections"
        print(f"\nMCP {form.version} ({form.name}), medians of {seconds}, {connections}, {os.cpu_count()} CPUs")
        print(table(measured))
        print(verdicts(measured), end="\n\n")


def _write_json(options: argparse.Namespace, results: dict[str, list[Measured]], problems: list[str]) -> None:
    settings = {key: getattr(options, key) for key in ("rounds", "seconds", "connections", "only")}
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    document = {
        "settings": settings,
        "machine": machine,
        "wire": {name: as_json(measured) for name, measured in results.items()},
        "problems": problems,
    }
    Path(options.json).write_text(json.dumps(document, indent=2) + "\n")


@contextlib.contextmanager
def _directory() -> Generator[Path, None, None]:
    """Below var/ and not in /tmp, which may be memory: metering has to reach a disk."""
    (REPOSITORY / "var").mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=REPOSITORY / "var"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    names = [kind.name for kind in SYSTEMS]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare the gateway side by side.")
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds per system (default: 5)")
    parser.add_argument("--seconds", type=_positive, default=4, help="seconds per round (default: 4)")
    parser.add_argument("--connections", type=_positive, default=16, help="connections at once (default: 16)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SYSTEM", help=", ".join(names))
    parser.add_argument("--wire", choices=[*WIRE_FORMS, "both"], default="modern", help="MCP form (default: modern)")
    parser.add_argument("--json", metavar="FILE", help="also write all figures to FILE")
    return parser.parse_args()


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
