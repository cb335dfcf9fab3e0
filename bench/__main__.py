"""`python -m bench`: compares the systems; `python -m bench NAME` measures something else. Everything that was started
is ended, also on Ctrl-C, SIGTERM or failure."""

import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path

from bench import comparison
from bench.errors import CannotMeasure
from bench.systems import REPOSITORY

Command = Callable[[Path, list[str]], int]
"""Measures below a folder, with the arguments after its name; returns the exit status."""


def _module(name: str) -> Command:
    """Imported on demand, because some need what only the tests need."""
    return lambda directory, arguments: import_module(f"bench.{name}").run(directory, arguments)


def _with_options(name: str) -> Command:
    def run(directory: Path, arguments: list[str]) -> int:
        module = import_module(f"bench.{name}")
        status: int = module.run(directory, module.options_of(arguments))
        return status

    return run


def _metering(command: str) -> Command:
    def run(directory: Path, arguments: list[str]) -> int:
        metering = import_module("bench.metering")
        status: int = metering.COMMANDS[command](directory, metering.options_of(command, arguments))
        return status

    return run


COMMANDS: dict[str, Command] = {
    "latency": _module("latency"),
    "ratio": _module("ratio"),
    "workers": _module("workers"),
    "many": _module("many"),
    "stages": _module("stages"),
    "trace": _module("trace"),
    "back-ends": _with_options("back_ends"),
    "mcp": _module("mcp_proxy"),
    "sessions": _with_options("sessions"),
    "standing": _module("standing"),
    "descriptions": _module("descriptions"),
    "memory": _module("memory"),
    "kafka-kill": _metering("kafka-kill"),
    "kafka-down": _metering("kafka-down"),
}


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    command, arguments = COMMANDS.get(sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if command is None:
        command, arguments = comparison.run, sys.argv[1:]
    try:
        with _directory() as directory:
            return command(directory, arguments)
    except CannotMeasure as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


@contextlib.contextmanager
def _directory() -> Generator[Path]:
    """Below var/ and not in /tmp, which may be memory: metering has to reach a disk."""
    (REPOSITORY / "var").mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=REPOSITORY / "var"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
