"""`python -m bench mcp`: a tool of an upstream MCP server, through the gateway with everything on and through others.

The others are a bare pass-through and FastMCP's proxy. The upstream's own count of calls is held against the load's.
"""

import argparse
import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import CannotMeasure, NotInstalled
from bench.load import Load, Round, find_wrk
from bench.processes import Child
from bench.report import HEAD, Measured, rows, table
from bench.systems import HERE, REPOSITORY, FastMcp, Gateway, System, install_fastmcp
from bench.upstream import Upstream
from bench.wire import STATELESS_REVISIONS, verify

_UVICORN = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]


class McpUpstream(Upstream):
    """`mcp_server.app` in nginx's place."""

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "bench.mcp_server:app", "--port", str(self._port), *_UVICORN]
        self._child = Child(command, env={}, cwd=REPOSITORY, log=self._directory / "upstream.log")
        self._child.wait_for_port(self._port, 30)

    def requests(self) -> int:
        time.sleep(0.5)
        with urllib.request.urlopen(f"{self.url}/status", timeout=5) as answer:
            return int(answer.read())


class BareProxy(System):
    name = "bare"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "uvicorn", "bench.mcp_server:passthrough", "--port", str(self.port), *_UVICORN]

    def environment(self) -> Mapping[str, str]:
        return {"BENCH_UPSTREAM": self._upstream_url}


class GatewayProxy(Gateway):
    def _write_catalogue(self) -> None:
        self._catalogue.mkdir()
        tool_set = {
            "apiVersion": "gostoa.dev/v1alpha1",
            "kind": "ToolSet",
            "metadata": {"name": "bench"},
            "spec": {"mcp": {"url": f"{self._upstream_url}/mcp"}},
        }
        (self._catalogue / "bench.yaml").write_text(json.dumps(tool_set))


class FastMcpProxy(FastMcp):
    def command(self) -> Sequence[str]:
        return [install_fastmcp(), str(HERE / "fastmcp_proxy.py"), self._upstream_url, str(self.port)]


def run(directory: Path, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench mcp")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args(arguments)
    form = STATELESS_REVISIONS
    with contextlib.ExitStack() as cleanup:
        upstream = McpUpstream(directory)
        cleanup.callback(upstream.stop)
        upstream.start()
        systems: list[System] = []
        for kind in (BareProxy, GatewayProxy, FastMcpProxy):
            system = kind(upstream.url, directory / kind.name)
            cleanup.callback(system.stop)
            try:
                system.start()
                system.wait_until_right(form)
            except (NotInstalled, CannotMeasure) as reason:
                print(f"skipped: {system.name}: {reason}", file=sys.stderr)
            else:
                systems.append(system)
        load = Load(find_wrk(), upstream, form, options.connections, directory)
        rounds: dict[str, list[Round]] = {system.name: [] for system in systems}
        for _ in range(options.rounds):
            for system in [*systems]:
                try:
                    rounds[system.name].append(load.run(system, options.seconds))
                except CannotMeasure as reason:
                    print(f"skipped: {system.name}: {reason}", file=sys.stderr)
                    systems.remove(system)
        for system in systems:
            verify(system.target(form), form)
        measured = [Measured(each.name, each.version, each.idle_rss_mib, tuple(rounds[each.name])) for each in systems]
        print(f"A tool of an upstream MCP server, MCP {form.version}, {options.rounds} x {options.seconds} s")
        print(table(HEAD, rows(measured)))
        failures = [failure for one in measured for failure in one.failures]
        print(*failures, sep="\n", file=sys.stderr)
        return 1 if failures else 0
