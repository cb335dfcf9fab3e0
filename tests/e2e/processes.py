"""Real gateways for tests: `stoa serve` as a process of its own, and upstreams that remember what they were sent.

Everything listens on loopback, every wait is bounded, and what was started is ended by its process id.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, TypeVar

import uvicorn
from tests.e2e import forkserver
from tests.e2e.forkserver import Forked
from tests.live.servers import free_port, is_free

from stoa.application.memory.clock import SystemClock
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.files.credentials.deployment_secret import FILE_NAME
from stoa.infrastructure.oidc import DevIssuer
from stoa.infrastructure.outbox import OutboxUsageLog
from stoa.interfaces.bootstrap import DEV_ISSUER

T = TypeVar("T")

STOA = str(Path(sys.executable).with_name("stoa"))
EVERYTHING = Path(__file__).resolve().parents[2] / "examples" / "everything.py"
_INHERITED = ("PATH", "HOME", "LANG")
"""Nothing else: a developer's own settings must not reach the gateways under test."""
_kept = tempfile.TemporaryDirectory(prefix="stoa-tests-")
_compiled = Path(_kept.name) / "policy-cache"
"""The policy as the first gateway compiled it, for the others, with the secret that it was kept under."""


def until(question: Callable[[], T], *, within: float, every: float = 0.05) -> T:
    """The first answer that is true; fails when there is none in time."""
    deadline = time.monotonic() + within
    while not (answer := question()):
        assert time.monotonic() < deadline, f"still {answer!r} after {within} s"
        time.sleep(every)
    return answer


@dataclass
class GatewayProcess:
    """A gateway below `home`: `catalogue/` with the manifests, `data/` with keys and events, `log` with its output."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    workers: int = 1
    sources: tuple[str, ...] = ("",)
    """What the option --catalogue names, relative to the catalogue folder."""
    arguments: tuple[str, ...] = ()
    """Further arguments of `stoa serve`."""
    port: int = field(default_factory=free_port)
    precompiled: bool = True
    """Begin with the policy that an earlier gateway of these tests compiled."""
    ready_after: float = 0.0
    """Seconds from the start of the process to the first 200 of `/ready`."""
    imports_itself: bool = False
    """Start it as a shell would, and not as a fork of a process that has imported it."""
    process: "subprocess.Popen[bytes] | Forked | None" = None

    def __post_init__(self) -> None:
        self.catalogue.mkdir(exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def catalogue(self) -> Path:
        return self.home / "catalogue"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, within: float = 60) -> None:
        if self.precompiled and _compiled.exists() and not self.data.exists():
            shutil.copytree(_compiled.parent, self.data)
        started = time.monotonic()
        catalogues = [f"--catalogue={self.catalogue / source}" for source in self.sources]
        command = [
            STOA,
            "serve",
            *self.arguments,
            *catalogues,
            "--port",
            str(self.port),
            "--workers",
            str(self.workers),
        ]
        environment = self._environment()
        with (self.home / "log").open("ab") as log:
            if self.imports_itself:
                self.process = subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # so that its workers can be ended with it
                )
            else:
                self.process = forkserver.start(command, environment=environment, output=log.fileno())
        until(self._is_ready, within=within, every=0.02)
        self.ready_after = time.monotonic() - started
        if not _compiled.exists() and (self.data / _compiled.name).exists():
            shutil.copytree(self.data / _compiled.name, _compiled)
            with suppress(FileNotFoundError):  # STATE_SECRET was given
                shutil.copy2(self.data / FILE_NAME, _compiled.with_name(FILE_NAME))

    def wait(self, *, within: float = 15) -> int:
        """The exit code."""
        assert self.process is not None
        return self.process.wait(timeout=within)

    def stop(self) -> int:
        """Ask it to end, as an orchestrator does; the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it and its workers at once, in the middle of whatever they do."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()
        until(lambda: is_free(self.port), within=60)  # its workers end when they get to it

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another `stoa` command with the same settings."""
        return subprocess.run(
            forkserver.command(STOA, *arguments),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def token(self, role: str, tenant: str | None = None) -> str:
        issuer = DevIssuer(self.data, DEV_ISSUER, "stoa-mcp-gateway", SystemClock(), "dev")
        subject = f"{role}@{tenant or 'platform'}"
        return issuer.issue(subject=subject, tenant=tenant, roles=frozenset({role}), lifetime_seconds=600)

    def events(self) -> list[MeteringEvent]:
        log = OutboxUsageLog(self.data / "outbox")
        events = list(log.events())
        assert log.damaged == 0
        return events

    def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        """Status and text; over a connection of its own, so that any worker may answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def ready(self, token: str | None = None) -> dict[str, Any]:
        """The parts of `/ready` with their details. `token`: a platform admin's; None: a development one."""
        parts: dict[str, Any] = json.loads(self.get("/ready", token or self.token("cpi-admin"))[1])["parts"]
        return parts

    def memory_mib(self) -> float:
        """Resident memory; 0 where the system does not tell."""
        status = Path(f"/proc/{self.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)

    def cpu_seconds(self) -> float:
        """CPU time that its threads have used, to the nanosecond; 0 where the system does not tell."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"stoa serve ended with {self.process.returncode}:\n{self.log[-4000:]}"
        try:
            return self.get("/ready")[0] == 200
        except OSError:
            return False

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own = {"DATA_DIR": str(self.data), "PORT": str(self.port), "TMPDIR": str(self.home)}
        own["SHUTDOWN_DRAIN_SECONDS"] = "0"  # no load balancer has to learn of it, but where a test says so
        return {**inherited, **own, **self.environment}


@contextmanager
def serving(gateway: GatewayProcess, *, within: float = 60) -> Generator[GatewayProcess]:
    """The gateway, ready; ended in every case."""
    try:
        gateway.start(within=within)
        yield gateway
    finally:
        if gateway.process is not None:
            gateway.kill()


@contextmanager
def serving_everything(home: Path) -> Generator[str]:
    """The MCP endpoint of examples/everything.py, where everybody is an anonymous viewer."""
    port = free_port()
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    with (home / "log").open("wb") as log:
        server = forkserver.start(
            [str(EVERYTHING), str(port)],
            environment={**environment, "DATA_DIR": str(home / "data")},
            output=log.fileno(),
        )
    try:
        until(lambda: is_live(port), within=60)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.end()


def is_live(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/live")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@dataclass
class Seen:
    """One request as an upstream received it."""

    method: str
    target: str
    """Path and query, byte for byte."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = tuple[int, str, bytes]
"""Status, media type and body."""


def _always_ok(_: Seen) -> Answer:
    return 200, "application/json", b'{"ok":true}'


class Upstream:
    """Answers every request with `answer` and remembers it."""

    def __init__(self, answer: Callable[[Seen], Answer] | None = None) -> None:
        self.seen: list[Seen] = []
        self.arrived = threading.Event()
        self._answer = answer or _always_ok
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(self.command, self.path, headers, body)
                upstream.seen.append(seen)
                upstream.arrived.set()
                status, media_type, content = upstream._answer(seen)
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(ConnectionError):  # the gateway may be dead by now
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815  # the library's names

            def handle(self) -> None:
                with suppress(ConnectionError):
                    super().handle()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name there
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def listening(self) -> Generator["Upstream"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join(timeout=10)
            self._server.server_close()


@contextmanager
def asgi_upstream(app: Any, ws: Literal["none", "wsproto"] = "none") -> Generator[str]:
    """An ASGI application on a loopback port, in a thread; its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, loop="asyncio", ws=ws, log_config=None, access_log=False, timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started, within=60)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)
