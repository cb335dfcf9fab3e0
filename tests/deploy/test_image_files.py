"""What the image is built from. tests/live/deploy/test_image.py builds it and runs it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distribution
from threading import Thread

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.docs.markdown import ROOT

IMAGE = ROOT / "deploy" / "image"
Pins = dict[tuple[str, str], tuple[str, frozenset[str]]]


def pins(text: str) -> Pins:
    """The marker and the hashes of each pinned version."""
    found: Pins = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        requirement, *hashes = re.split(r"\s*\\\n\s+", entry)
        name, _, rest = requirement.partition("==")
        version, _, marker = rest.partition(";")
        found[name.strip(), version.strip()] = (marker.strip(), frozenset(hashes))
    return found


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> Iterator[str]:
    """The distributions that one with these extras needs on this system."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras or frozenset({""})
        ):
            continue
        other = canonicalize_name(requirement.name)
        yield other
        yield from needed(other, frozenset(requirement.extras), seen)


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_image_lock_pins_what_the_project_pins(name: str) -> None:
    """The same versions and hashes as those that the tests run with."""
    whole = pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    of_image = pins((IMAGE / name).read_text(encoding="utf-8"))
    assert of_image
    for pin, (_, hashes) in of_image.items():
        assert hashes
        assert whole[pin][1] == hashes


def test_image_lock_is_all_that_the_gateway_needs() -> None:
    every = set(needed("stoa-mcp-gateway", frozenset({"all"}), set())) - {"stoa-mcp-gateway"}
    locked = {
        canonicalize_name(name)
        for (name, _), (marker, _) in pins((IMAGE / "requirements.lock").read_text(encoding="utf-8")).items()
        if not marker or Requirement(f"{name}; {marker}").marker.evaluate()  # type: ignore[union-attr]
    }
    assert every - locked == set()
    assert not locked & {"pytest", "mypy", "ruff", "pyright", "hypothesis"}


def test_dockerfile_copies_what_is_there_and_not_ignored() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert list(ROOT.glob(source)), source
            assert source in allowed or any(source.startswith(f"{folder}/") for folder in allowed), source


def test_dockerfile_ends_as_a_user_without_a_name_for_root() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    assert "--require-hashes" in text


class _Live(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/live" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_healthcheck_fails_unless_the_gateway_is_alive(status: int, code: int) -> None:
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (_Live,), {"status": status}))
    Thread(target=server.handle_request, daemon=True).start()
    environment = {"PORT": str(server.server_port)}
    run = subprocess.run([sys.executable, IMAGE / "healthcheck.py"], env=environment, capture_output=True, check=False)
    server.server_close()
    assert run.returncode == code
