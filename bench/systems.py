"""The systems that are measured: each is one process with one worker on a free loopback port, with the same nginx
behind it and the same one-operation OpenAPI document."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import CannotMeasure, NotInstalled
from bench.processes import Child, Usage, free_port
from bench.wire import HANDSHAKE_REVISIONS, Target, WireForm, open_session, verify

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
_DOCUMENT = HERE / "openapi.json"
_SERVER = "http://upstream.invalid"

SUCCESS = b'"status":"success"'

_NO_FASTMCP = "FastMCP cannot be installed"
FASTMCP_REQUIREMENTS = ("fastmcp>=4.1", "httptools", "uvicorn", "uvloop")
"""pip takes the newest whose own dependencies can be had; the version measured is printed."""

GATEWAY_ENVIRONMENT = {
    "ENVIRONMENT": "dev",
    "LOG_LEVEL": "INFO",
    # A role's own limit would refuse the load; the limiter still counts every call.
    "STOA_CALLER_LIMITS": '{"cpi-admin": {"requestsPerMinute": 60000000, "burst": 1000000}}',
}
"""All that the gateway is told beyond its defaults: governance stays on."""


API_VERSION = "gostoa.dev/v1alpha1"


def tool_set(upstream_url: str) -> Mapping[str, Any]:
    """The manifest of the one operation."""
    spec = {
        "description": "The API of the benchmark",
        "openAPISpec": {"inline": _api_of(upstream_url)},
        "baseURL": upstream_url,
    }
    return {"apiVersion": API_VERSION, "kind": "ToolSet", "metadata": {"name": "bench"}, "spec": spec}


def _api_of(upstream_url: str) -> str:
    return _DOCUMENT.read_text().replace(_SERVER, upstream_url)


class System(ABC):
    """One contestant."""

    name: str
    needs_session = False
    """Whether calls in the legacy form need the handshake first."""

    def __init__(self, upstream_url: str, directory: Path) -> None:
        self.port = free_port()
        self.version = ""
        self.idle_rss_mib = 0.0
        self._upstream_url = upstream_url
        self._directory = directory
        self._child: Child | None = None
        self._token = ""
        self._sessions: dict[str, str] = {}

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The program to run, after everything it needs was made ready."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def events(self) -> int | None:
        """Metering events of successful calls kept so far; None: this system does not meter."""
        return None

    def item_of(self, content: Any) -> Any:
        """The item in the structured content of an answer."""
        return content

    def start(self) -> None:
        self._directory.mkdir(parents=True)
        self._child = Child(
            self.command(), env=self.environment(), cwd=REPOSITORY, log=self._directory / f"{self.name}.log"
        )
        self._child.wait_for_port(self.port, 60)

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def usage(self) -> Usage:
        if self._child is None:
            raise CannotMeasure(f"{self.name} was not started")
        return self._child.usage()

    def target(self, form: WireForm) -> Target:
        target = Target(self.port, token=self._token)
        if not self.needs_session or form is not HANDSHAKE_REVISIONS:
            return target
        if form.name not in self._sessions:
            self._sessions[form.name] = open_session(target, form)
        return Target(self.port, token=self._token, session=self._sessions[form.name])

    def wait_until_right(self, form: WireForm, timeout_seconds: float = 20) -> None:
        """Return when a call is answered rightly: listening comes before being ready."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                verify(self.target(form), form, self.item_of)
                break
            except CannotMeasure as problem:
                if time.monotonic() > deadline:
                    log = self._child.tail() if self._child else ""
                    raise CannotMeasure(f"{problem}\n{log}") from problem
                time.sleep(0.2)
        self.idle_rss_mib = self.idle_rss_mib or self.usage().rss_mib

    def _write_document(self) -> Path:
        document = self._directory / "openapi.json"
        document.write_text(_api_of(self._upstream_url))
        return document


class Bare(System):
    """No governance at all: what any Python gateway of this kind has to pay."""

    name = "bare"

    def command(self) -> Sequence[str]:
        options = ["--port", str(self.port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        return [sys.executable, "-m", "uvicorn", "bench.passthrough:app", "--log-level", "warning", *options]

    def environment(self) -> Mapping[str, str]:
        return {"BENCH_UPSTREAM": self._upstream_url}


class Gateway(System):
    """`stoa serve` with everything on."""

    name = "gateway"
    needs_session = True

    def command(self) -> Sequence[str]:
        self._write_catalogue()
        self._token = self._issue_token()
        serve = ["serve", "--catalogue", str(self._catalogue), "--port", str(self.port), "--workers", "1"]
        return [str(self._stoa), *serve]

    def environment(self) -> Mapping[str, str]:
        return {**GATEWAY_ENVIRONMENT, "PORT": str(self.port), "DATA_DIR": str(self._directory / "data")}

    def events(self) -> int | None:
        """Counted in the outbox's files, so that an error result, which wrk takes for an answer, is missed here."""
        return sum(path.read_bytes().count(SUCCESS) for path in self.outbox.glob("*.jsonl"))

    @property
    def outbox(self) -> Path:
        return self._directory / "data" / "outbox"

    @property
    def _stoa(self) -> Path:
        return Path(sys.executable).with_name("stoa")

    @property
    def _catalogue(self) -> Path:
        return self._directory / "catalogue"

    def _write_catalogue(self) -> None:
        self._catalogue.mkdir()
        manifest = {"apiVersion": API_VERSION, **self._manifest()}
        # JSON is YAML, too.
        (self._catalogue / "bench.yaml").write_text(json.dumps(manifest, indent=2))

    def _manifest(self) -> Mapping[str, Any]:
        return tool_set(self._upstream_url)

    def _issue_token(self) -> str:
        """A token of the dev issuer, which shares the server's DATA_DIR."""
        command = [str(self._stoa), "token", "--role", "cpi-admin", "--tenant", "bench"]
        environment = {**os.environ, **self.environment()}
        try:
            done = subprocess.run(
                command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotMeasure(f"`stoa token` does not run: {error}; run `make install` first") from error
        if done.returncode or not done.stdout.strip():
            raise CannotMeasure(f"`stoa token` failed with status {done.returncode}: {done.stderr.strip()[-600:]}")
        return done.stdout.split()[-1]


class GoBridge(System):
    """A bridge in Go from OpenAPI to MCP, without any governance: `go_bridge`, built on first use."""

    name = "go"
    needs_session = True

    def command(self) -> Sequence[str]:
        self.version = f"mcp-go {_required_version()}"
        return [str(build_go_bridge()), str(self._write_document()), self._upstream_url, str(self.port)]


def build_go_bridge() -> Path:
    """The program below var/; go builds only what has changed. Raises NotInstalled."""
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if go is None:
        raise NotInstalled("go is not installed")
    program = REPOSITORY / "var" / "go-bridge"
    _run([go, "build", "-o", str(program), "."], "the Go bridge cannot be built", cwd=HERE / "go_bridge")
    return program


def _required_version() -> str:
    """The version of the MCP library in go.mod."""
    requirement = re.search(r"mark3labs/mcp-go v(\S+)", (HERE / "go_bridge" / "go.mod").read_text())
    return "" if requirement is None else requirement[1]


class FastMcp(System):
    """FastMCP's bridge from OpenAPI, without any governance, in an environment of its own."""

    name = "fastmcp"
    needs_session = True

    def command(self) -> Sequence[str]:
        python = install_fastmcp()
        self.version = _run([python, "-c", "import fastmcp; print(fastmcp.__version__)"], _NO_FASTMCP).strip()
        script = str(HERE / "fastmcp_server.py")
        return [python, script, str(self._write_document()), self._upstream_url, str(self.port)]

    def environment(self) -> Mapping[str, str]:
        return {"FASTMCP_CHECK_FOR_UPDATES": "off", "FASTMCP_SHOW_SERVER_BANNER": "false"}


def install_fastmcp() -> str:
    """The Python of .venv-bench, made on first use; the stamp says that it was finished with these requirements.
    Raises NotInstalled."""
    home = REPOSITORY / ".venv-bench"
    python, stamp = str(home / "bin" / "python"), home / ".installed"
    wanted = "\n".join(FASTMCP_REQUIREMENTS)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {', '.join(FASTMCP_REQUIREMENTS)} into .venv-bench (once) ...", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(home)], _NO_FASTMCP)
    (home / ".gitignore").write_text("*\n")
    _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *FASTMCP_REQUIREMENTS], _NO_FASTMCP)
    stamp.write_text(wanted)
    return python


def _run(command: Sequence[str], problem: str, cwd: Path = REPOSITORY) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{problem}: {error}") from error
    if done.returncode:
        raise NotInstalled(f"{problem}: {done.stderr.strip()[-400:]}")
    return done.stdout


SYSTEMS: tuple[type[System], ...] = (Bare, Gateway, GoBridge, FastMcp)
