"""`python -m bench standing`: what a gateway costs that nobody calls, and what a large catalogue costs its callers.

Cold start and idle memory with the demo's catalogue, at the first start (the policy is compiled) and at later ones;
then catalogues of 1,000 and 10,000 tools: memory, start and `tools/list`. (What they add to a call is a row of
`python -m bench stages`.) Gateways are started as the tests start them. CPU times are the worker's own: a busy machine
changes them little.
"""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.e2e.manifests import describe, tool, tool_set, write
from tests.e2e.processes import GatewayProcess, serving
from tests.e2e.processes import Upstream as Answering
from tests.e2e.wire import wire_client

from stoa.interfaces.demo.catalogue_files import write_catalogue

STARTS = 5
LISTS = 5
NOBODY = "http://127.0.0.1:1"


def run(directory: Path, _: list[str]) -> int:
    console = Console(width=120)
    starts = Table("start", "ready after, s", "CPU, s", "idle, MiB", title="The demo's catalogue", title_justify="left")
    home = directory / "demo"
    home.mkdir()
    for number in range(1, STARTS + 1):
        gateway = GatewayProcess(home, precompiled=False)
        write_catalogue(gateway.catalogue, NOBODY)
        with serving(gateway):
            spent, idle = gateway.cpu_seconds(), gateway.memory_mib()
            starts.add_row(str(number), f"{gateway.ready_after:.2f}", f"{spent:.2f}", f"{idle:.0f}")
    console.print(starts)

    sizes = Table(
        *("tools", "ready after, s", "CPU, s", "MiB", "first page, ms CPU", "whole list, ms CPU"),
        title="Larger catalogues",
        title_justify="left",
    )
    with Answering().listening() as upstream:
        for count in (1, 1_000, 10_000):
            sizes.add_row(*_measure(directory / str(count), count, upstream.url))
    console.print(sizes)
    return 0


def _measure(home: Path, count: int, url: str) -> list[str]:
    home.mkdir()
    gateway = GatewayProcess(home, {"RATE_LIMIT_ENABLED": "false"})
    write(gateway, "ask.yaml", tool("ask", f"{url}/ask"))
    if count > 1:
        describe(gateway, "many.json", (f"operation_{number:05}" for number in range(count - 1)))
        write(gateway, "many.yaml", tool_set("many", "many.json", url))
    with serving(gateway, within=120), wire_client(gateway.url, gateway.token("cpi-admin")) as client:
        spent, idle = gateway.cpu_seconds(), gateway.memory_mib()
        listed = client.tools()
        assert len(listed) == count
        first = _cost(gateway, LISTS, lambda: client.request("tools/list", {}))
        whole = _cost(gateway, LISTS, client.tools)
    return [
        f"{count:,}",
        f"{gateway.ready_after:.2f}",
        f"{spent:.2f}",
        f"{idle:.0f}",
        f"{first * 1e3:.1f}",
        f"{whole * 1e3:.1f}",
    ]


def _cost(gateway: GatewayProcess, times: int, work: Callable[[], object]) -> float:
    """CPU seconds of the gateway for one of them."""
    before = gateway.cpu_seconds()
    for _ in range(times):
        work()
    return (gateway.cpu_seconds() - before) / times
