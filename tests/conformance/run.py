"""Runs the official MCP conformance suite against `examples/everything.py`: `make conformance`. With `--proxied`, the
suite reaches it through a second gateway, whose upstream it is, over both eras of the upstream.

Each leg must exit 0 with nothing expected to fail, and must have run the scenarios it is known for, because the suite
exits 0 as well when it skipped what it was asked for. The bare `--suite all` is the leg that reaches extensions.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
RESULTS = REPOSITORY / "var" / "conformance"
SUITE = HERE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"

LEGS = {
    "2025-11-25": (["--requirements", "2025-11-25"], 30),
    "2026-07-28": (["--requirements", "2026-07-28"], 37),
    "all": (["--suite", "all"], 62),
}
"""Arguments of each leg, and how many scenarios it has at least."""

PROXIED = {"2026-07-28": [*LEGS], "2025-11-25": ["2025-11-25", "2026-07-28"]}
"""Legs by the revision that the proxy speaks to its upstream."""


def main() -> int:
    if shutil.which("npm") is None:
        print(
            "npm is not installed; it brings the suite and the Node it needs (Debian: apt install npm)", file=sys.stderr
        )
        return 2
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=HERE, check=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    with _serving("server", "examples/everything.py") as url:
        if "--proxied" not in sys.argv:
            failed = [name for name in LEGS if not _run(name, LEGS[name], url)]
        else:
            for revision, legs in PROXIED.items():
                with _serving(f"proxy-{revision}", "tests/conformance/proxy.py", url, revision) as proxy:
                    for name in legs:
                        if not _run(f"proxied-{revision}-{name}", LEGS[name], proxy, f"proxied-{revision}.yml"):
                            failed.append(f"{name} by {revision}")
    print(f"conformance: {len(failed)} failed" + (f": {failed}" if failed else ""))
    return 1 if failed else 0


@contextmanager
def _serving(log_name: str, program: str, *arguments: str) -> Generator[str]:
    """The MCP endpoint of a program, which gets its port as its first argument."""
    port = _free_port()
    with (RESULTS / f"{log_name}.log").open("wb") as log:
        command = [sys.executable, str(REPOSITORY / program), str(port), *arguments]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until_ready(port, server, log_name)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            server.terminate()
            server.wait(20)


def _run(name: str, leg: tuple[list[str], int], url: str, expected: str = "no-failures.yml") -> bool:
    arguments, at_least = leg
    node = HERE / "node_modules" / ".bin" / "node"
    output = RESULTS / name
    shutil.rmtree(output, ignore_errors=True)
    command = [str(node), str(SUITE), "server", "--url", url, *arguments]
    command += ["--expected-failures", str(HERE / expected), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    scenarios = len({re.sub(r"-\d{4}-.*$", "", path.parent.name) for path in output.glob("*/checks.json")})
    print(f"{name}: exit {done.returncode}, {scenarios} scenarios", flush=True)
    if done.returncode != 0 or scenarios < at_least:
        print(done.stdout[-6000:], done.stderr[-2000:], f"expected at least {at_least} scenarios", sep="\n")
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(port: int, server: subprocess.Popen[bytes], log_name: str) -> None:
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the server does not listen; see {RESULTS / log_name}.log")


if __name__ == "__main__":
    os.chdir(REPOSITORY)
    sys.exit(main())
