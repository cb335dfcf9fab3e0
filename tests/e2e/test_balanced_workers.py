"""Connections that come at once are spread over the workers of `stoa serve`."""

import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.e2e.processes import GatewayProcess, serving, until

from stoa.interfaces.demo.catalogue_files import write_catalogue

BURST = 16
BURSTS = 5
"""A worker that a busy machine does not run for a while gets less of a burst; it does not miss all of them."""


def connections_by_worker(gateway: GatewayProcess) -> dict[int, int]:
    """Open sockets of each worker."""
    tasks = Path(f"/proc/{gateway.pid}/task")
    children = [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
    counts: dict[int, int] = {}
    for child in children:
        counts[child] = 0
        for descriptor in Path(f"/proc/{child}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since
                counts[child] += os.readlink(descriptor).startswith("socket:")
    return counts


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell a process's descriptors")
def test_workers_share_a_burst_of_connections(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, workers=2, imports_itself=True)
    write_catalogue(gateway.catalogue, "http://127.0.0.1:1")
    with serving(gateway):
        until(lambda: gateway.log.count("serves") == 2, within=60)
        port = urlsplit(gateway.url).port
        least = [_least_of_a_burst(gateway, port) for _ in range(BURSTS)]
        assert max(least) >= BURST // 2 - 2, least


def _least_of_a_burst(gateway: GatewayProcess, port: int | None) -> int:
    """Connections of the worker with the fewest."""
    before = connections_by_worker(gateway)
    with ExitStack() as clients:
        for _ in range(BURST):
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))
        until(lambda: _more(gateway, before) >= BURST, within=60)
        now = connections_by_worker(gateway)
    until(lambda: _more(gateway, before) <= 0, within=60)
    return min(now[worker] - before[worker] for worker in before)


def _more(gateway: GatewayProcess, before: dict[int, int]) -> int:
    return sum(connections_by_worker(gateway).values()) - sum(before.values())
