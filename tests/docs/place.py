"""Where the documentation's commands are run: a folder as a reader would have it, and `stoa demo` beside it.

Commands of `stoa` run in this process, which takes a tenth of the time; the rest of a line is bash's.
"""

import io
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.docs.markdown import ROOT, blocks
from tests.e2e import forkserver
from tests.e2e.processes import STOA, asgi_upstream, is_live, until
from tests.interfaces.cli.usage_data import audit_line, events, write_outbox
from tests.live.servers import free_port

from stoa.infrastructure.opa.embedded import DEFAULT_BUNDLE
from stoa.interfaces.cli.app import run
from stoa.interfaces.demo.catalogue_files import write_catalogue
from stoa.interfaces.demo.upstream import BILLING_API_KEY, build_upstream
from stoa.interfaces.settings import Settings

DEMO = ROOT / "interfaces" / "stoa" / "interfaces" / "demo"
NO_BROKER = "127.0.0.1:1"


@dataclass
class Place:
    """`home` is the reader's folder; `port` is that of the running demo, whose DATA_DIR is `home/var`."""

    home: Path
    port: int

    @property
    def demo_catalogue(self) -> Path:
        """The demo's manifests, for commands that are not asked of the running demo."""
        return self.home / "demo-catalogue"

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in Settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.chdir(self.home)
        monkeypatch.setenv("PORT", str(self.port))
        monkeypatch.setenv("DATA_DIR", str(self.home / "var"))
        # `stoa demo` sets it for its process, which is this one: the test's end takes it back.
        monkeypatch.setenv("STOA_SECRET__TEAM_ALPHA__BILLING_API__APIKEY", BILLING_API_KEY)
        monkeypatch.setenv("TOKEN", self.stoa("token --role tenant-admin --tenant team-alpha")[1].strip())

    def stoa(self, command: str) -> tuple[int, str]:
        """Exit code and output of a command, without its first word."""
        printed = io.StringIO()
        with redirect_stdout(printed):
            code = run(shlex.split(command, comments=True))
        return code, printed.getvalue()

    def bash(self, line: str) -> str:
        line = line.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}").replace(
            "curl -s ", "curl -sS --fail-with-body "
        )
        done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


def example_manifest(comment: str) -> str:
    """The YAML block of docs/own-api.md that begins with this comment."""
    return next(block.text for block in blocks() if block.file == "docs/own-api.md" and block.text.startswith(comment))


@contextmanager
def a_place(home: Path) -> Generator[Place]:
    catalogue = home / "catalogue"
    catalogue.mkdir()
    manifest = example_manifest("# catalogue/orders.yaml")
    (catalogue / "orders.yaml").write_text(manifest)
    api = yaml.safe_load(manifest)["spec"]["openAPISpec"]["url"]
    for folder in (home, catalogue):
        shutil.copy(DEMO / "petstore.openapi.yaml", folder / api)
    shutil.copy(DEFAULT_BUNDLE, home / "bundle.tar.gz")
    (home / "infrastructure").symlink_to(ROOT / "infrastructure")
    write_outbox(home / "var", events())
    (home / "gateway.log").write_text("".join(map(audit_line, events())))
    shutil.copy(home / "gateway.log", home / "var" / "audit.jsonl")
    place = Place(home, free_port())
    place.demo_catalogue.mkdir()
    with (
        asgi_upstream(build_upstream()) as upstream_url,
        started(place, ["demo", "--port", str(place.port)], place.port),
    ):
        write_catalogue(place.demo_catalogue, upstream_url)
        own = home / api  # the reader's own API names its server
        own.write_text(own.read_text().replace("url: /petstore", f"url: {upstream_url}/petstore"))
        yield place


@contextmanager
def started(place: Place, arguments: list[str], port: int) -> Generator[None]:
    """A command that serves at this port; ended by its process id."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with (place.home / f"log-{port}").open("wb") as log:
        process = forkserver.start(
            [STOA, *arguments],
            environment={**kept, "DATA_DIR": str(place.home / "var"), "TMPDIR": str(place.home), **_secrets()},
            output=log.fileno(),
            folder=place.home,
        )
    try:
        until(lambda: process.poll() is not None or is_live(port), within=30)
        assert process.poll() is None, (place.home / f"log-{port}").read_text()
        yield
    finally:
        process.end()


def _secrets() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if re.match(r"STOA_SECRET__", name)}
