"""A real `stoa serve` with a small catalogue and its upstream, for the checks in this folder."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STOA = Path(sys.executable).parent / "stoa"
GENEROUS = {
    role: {"requestsPerMinute": 6_000_000, "burst": 1_000_000}
    for role in ("cpi-admin", "tenant-admin", "devops", "viewer")
}
"""Caller limits that a check does not meet, because it is not the limits that it checks."""


@dataclass
class Gateway:
    port: int
    data: Path
    process: "subprocess.Popen[bytes]"
    environment: Mapping[str, str]

    def token(self, role: str, tenant: str | None, subject: str | None = None) -> str:
        """A token of the development issuer."""
        command = [str(STOA), "token", "--role", role]
        command += ["--tenant", tenant] if tenant else []
        command += ["--subject", subject] if subject else []
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout.strip()

    def memory_mib(self) -> int:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()


@contextmanager
def serving(
    folder: Path,
    manifests: list[dict[str, Any]],
    settings: Mapping[str, str],
    arguments: tuple[str, ...] = (),
    *,
    command: tuple[str, ...] = (str(STOA),),
) -> Iterator[Gateway]:
    """A gateway that is ready; ended in every case. `folder` keeps its catalogue, data and log."""
    catalogue = folder / "catalogue"
    catalogue.mkdir(parents=True, exist_ok=True)
    for number, manifest in enumerate(manifests):
        (catalogue / f"{number:03}.yaml").write_text(json.dumps(manifest))
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "DATA_DIR": str(folder / "data"),
        "PORT": str(port),
        "LOG_LEVEL": "warning",
        "STOA_CALLER_LIMITS": json.dumps(GENEROUS),
        **settings,
    }
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "serve", "--catalogue", str(catalogue), *arguments],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    gateway = Gateway(port, folder / "data", process, environment)
    try:
        _wait_until_ready(gateway)
        yield gateway
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(gateway: Gateway) -> None:
    deadline = time.monotonic() + 60
    while gateway.process.poll() is None and time.monotonic() < deadline:
        try:
            if gateway.get("/ready")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the gateway did not become ready; see {gateway.data.parent / 'gateway.log'}")


async def start_upstream() -> tuple[asyncio.Server, str]:
    """An HTTP API that answers every request with a small JSON object; `/slow` takes two seconds, `/large` 300 KB."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                await reader.readexactly(size)
                target = head.split(b" ", 2)[1]
                if target.startswith(b"/slow"):
                    await asyncio.sleep(2)
                body = b'{"text":"%b"}' % (b"x" * 300_000) if target.startswith(b"/large") else b'{"ok":true}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the gateway, or the check, is over
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def tool(name: str, endpoint: str, *, tenant: str | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": f"tenant-{tenant}"} if tenant else {})
    return {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "Tool",
        "metadata": metadata,
        "spec": {"endpoint": endpoint, "method": "GET", **spec},
    }
