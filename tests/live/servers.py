"""The real servers: each is started at most once per test run, on free loopback ports, in a folder of its own, and
ended by its process id. `tools/services/install.sh NAME` installs one."""

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

REPOSITORY = Path(__file__).parents[2]
SERVICES = REPOSITORY / "tools" / "services"
INSTALLED = Path(os.environ.get("STOA_SERVICES_DIR") or Path.home() / ".cache" / "stoa-services")
IS_REQUIRED = os.environ.get("STOA_REQUIRE_LIVE") == "1"
_STOP_SECONDS = 20
_SILENT = logging.getLogger("tests.live.silent")
_SILENT.setLevel(logging.CRITICAL + 1)
"""A client that looks for a broker says aloud that there is none yet."""


class LiveServer(ABC):
    """One server process. `folder` is its own."""

    name: str
    start_seconds = 30.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def is_installed(cls) -> bool: ...

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def is_ready(self) -> bool: ...

    def start(self) -> None:
        """Returns when it answers. Fails the test, with the server's log, when it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + self.start_seconds
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As if its machine had failed."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)


class Opa(LiveServer):
    """With the default policy from its sources, as the REST API serves it."""

    name = "opa"
    policies = REPOSITORY / "infrastructure" / "stoa" / "infrastructure" / "opa" / "policies"

    @classmethod
    def is_installed(cls) -> bool:
        return (INSTALLED / "opa" / "bin" / "opa").exists()

    def command(self) -> list[str]:
        sources = [str(path) for path in sorted(self.policies.glob("*.rego")) if not path.stem.endswith("_test")]
        return [str(SERVICES / "opa" / "start.sh"), str(self.port), *sources]

    def is_ready(self) -> bool:
        return answers(f"{self.url}/health")


class Keycloak(LiveServer):
    """With the realm in deploy/keycloak."""

    name = "keycloak"
    start_seconds = 120.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.management_port = free_port()
        self.issuer = f"{self.url}/realms/stoa"

    @classmethod
    def is_installed(cls) -> bool:
        return (INSTALLED / "keycloak" / ".stamp").exists() and shutil.which("java") is not None

    def command(self) -> list[str]:
        data = str(self.folder / "data")
        return [str(SERVICES / "keycloak" / "start.sh"), data, str(self.port), str(self.management_port)]

    def is_ready(self) -> bool:
        return answers(f"http://127.0.0.1:{self.management_port}/health/ready")


class Redis(LiveServer):
    """Keeps nothing when it ends."""

    name = "redis"

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("redis-server") is not None

    def command(self) -> list[str]:
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        return ["redis-server", *options, "--save", "", "--appendonly", "no"]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class Kafka(LiveServer):
    """One node, broker and controller, without credentials. Topics are made by who needs them. After `kill` it takes
    some seconds until the controller lets it in again."""

    name = "kafka"
    start_seconds = 90.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.controller_port = free_port()
        self.servers = f"127.0.0.1:{self.port}"

    @classmethod
    def is_installed(cls) -> bool:
        return (INSTALLED / "kafka" / ".stamp").exists() and shutil.which("java") is not None

    def command(self) -> list[str]:
        data = str(self.folder / "data")
        return [str(SERVICES / "kafka" / "start.sh"), data, str(self.port), str(self.controller_port)]

    def is_ready(self) -> bool:
        """A broker is named in metadata; the port opens before."""
        return is_broker(self.servers)


class Apicurio(LiveServer):
    """A schema registry with Confluent's API, in memory."""

    name = "apicurio"
    start_seconds = 120.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.registry = f"{self.url}/apis/ccompat/v7"

    @classmethod
    def is_installed(cls) -> bool:
        return (INSTALLED / "apicurio" / ".stamp").exists() and shutil.which("java") is not None

    def command(self) -> list[str]:
        return [str(SERVICES / "apicurio" / "start.sh"), str(self.port)]

    def is_ready(self) -> bool:
        return answers(f"{self.registry}/subjects")


@contextmanager
def running(kind: type[LiveServer], folder: Path) -> Iterator[LiveServer]:
    """A started server. Skips where it is not installed, unless STOA_REQUIRE_LIVE=1: then that is a failure."""
    if not kind.is_installed():
        reason = f"{kind.name} is not installed; tools/services/install.sh {kind.name} does it"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    server = kind(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """Below those that systems give to outgoing connections, one of which might take it before its server does."""
    ports = (secrets.choice(range(20_000, 32_000)) for _ in range(1000))
    return next(port for port in ports if is_free(port))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def is_broker(servers: str) -> bool:
    """Does a Kafka cluster tell its brokers?"""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0}, logger=_SILENT)
    try:
        return bool(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def make_topic(servers: str, name: str, *, partitions: int = 3) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0}, logger=_SILENT)
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)


def post(url: str, content: object) -> bytes:
    """The answer to JSON; empty where there is none."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(content).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=2) as response:
            return bytes(response.read())
    except (OSError, urllib.error.URLError):
        return b""


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
