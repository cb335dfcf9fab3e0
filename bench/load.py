"""One round of load: wrk posts tools/call to one system; its figures are checked against nginx's own count."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.errors import CannotMeasure
from bench.processes import Usage
from bench.systems import System
from bench.wire import WireForm, template

_SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True, slots=True)
class Round:
    """What one system did in one round."""

    calls: int
    calls_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_call: float
    """User and system time of the system's processes; nginx and wrk are not in it."""
    upstream_cpu_us_per_call: float
    load_cpu_us_per_call: float
    """CPU time that wrk itself took."""
    rss_mib: float
    failures: tuple[str, ...] = ()
    """Why the figures cannot be trusted."""


def find_wrk() -> str:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise CannotMeasure("wrk is not installed; it makes the load (Debian, Ubuntu: apt install wrk)")
    return wrk


class BackEnd(Protocol):
    """What answers the measured systems."""

    def usage(self) -> Usage: ...

    def requests(self) -> int:
        """How many requests have come, once no more come in."""
        ...


class Load:
    """The same load for every system."""

    def __init__(
        self, wrk: str, upstream: BackEnd, form: WireForm, connections: int, directory: Path, threads: int = 1
    ) -> None:
        self._wrk = wrk
        self._upstream = upstream
        self._form = form
        self._connections = connections
        self._threads = threads
        self._request = directory / "request.http"

    def run(self, system: System, seconds: int) -> Round:
        self._request.touch(mode=0o600)  # it holds a token
        self._request.write_text(template(system.target(self._form), self._form), newline="")
        seen_before, events_before = self._upstream.requests(), system.events()
        before, nginx_before = system.usage(), self._upstream.usage()
        figures = self._load(system, seconds)
        after, nginx_after = system.usage(), self._upstream.usage()
        seen, events = self._upstream.requests(), system.events()
        calls = figures["calls"]
        if not calls:
            raise CannotMeasure(f"{system.name} answered no call in {seconds} s")
        return Round(
            calls=calls,
            calls_per_second=calls / figures["microseconds"] * 1e6,
            p50_ms=figures["p50_us"] / 1e3,
            p99_ms=figures["p99_us"] / 1e3,
            cpu_us_per_call=(after.cpu_seconds - before.cpu_seconds) / calls * 1e6,
            upstream_cpu_us_per_call=(nginx_after.cpu_seconds - nginx_before.cpu_seconds) / calls * 1e6,
            load_cpu_us_per_call=figures["load_us"] / calls,
            rss_mib=after.rss_mib,
            failures=tuple(
                self._failures(
                    figures,
                    upstream=seen - seen_before,
                    events=None if events is None or events_before is None else events - events_before,
                )
            ),
        )

    def _load(self, system: System, seconds: int) -> dict[str, int]:
        command = [self._wrk, f"-t{self._threads}", f"-c{self._connections}", f"-d{seconds}s", "--timeout", "10s"]
        command += ["-s", str(_SCRIPT), f"http://127.0.0.1:{system.port}", "--", str(self._request)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
        except subprocess.TimeoutExpired as error:
            raise CannotMeasure(f"wrk did not end within {seconds + 30} s") from error
        for line in done.stdout.splitlines():
            if line.startswith("RESULT "):
                figures: dict[str, int] = json.loads(line.removeprefix("RESULT "))
                return figures
        raise CannotMeasure(f"wrk failed (status {done.returncode}): {done.stderr or done.stdout}")

    def _failures(self, figures: dict[str, int], *, upstream: int, events: int | None) -> list[str]:
        """An answered call has reached nginx once and left one event of success; calls under way at the end are
        seen there and not by wrk."""
        calls, slack = figures["calls"], self._connections
        failures = [
            f"{figures[key]} calls {words}"
            for key, words in (("refused", "answered with HTTP 4xx/5xx"), ("timeouts", "timed out"))
            if figures[key]
        ]
        if figures["socket_errors"]:
            failures.append(f"{figures['socket_errors']} socket errors")
        if not calls <= upstream <= calls + slack:
            failures.append(f"the back end saw {upstream} requests for {calls} calls")
        if events is not None and not calls <= events <= calls + slack:
            failures.append(f"{events} metering events of successful calls for {calls} calls")
        return failures
