"""The official TypeScript clients and the inspector as processes; npm brings them (clients/package.json)."""

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from tests.live.servers import IS_REQUIRED

CLIENTS = Path(__file__).parent / "clients"
_MODULES = CLIENTS / "node_modules"
_INSPECTOR = _MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
INSTALL_SECONDS = 300
SECONDS = 30
"""That a client may take for one answer."""


def install(folder: Path = CLIENTS) -> None:
    """What `folder` pins, once for each lock file. Where there is no npm, the tests are skipped, and fail in CI."""
    if shutil.which("npm") is None:
        reason = "npm is not installed; it brings the TypeScript clients (Debian: apt install npm)"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    lock, stamp = folder / "package-lock.json", folder / "node_modules" / ".stoa-installed"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_SECONDS)
    stamp.write_bytes(lock.read_bytes())


class TypeScriptClient:
    """One of the official clients, driven over pipes; see clients/driver.mjs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.told: list[tuple[str, Any]] = []
        """Notifications and progress, in order."""
        self.asked: list[str] = []
        self.http: list[tuple[str, int, str | None]] = []
        """Method, status and challenge of each answer."""

    def answer(self, command: str, *arguments: Any) -> dict[str, Any]:
        """`result` or `error`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = Timer(SECONDS, self._process.kill)
        timer.start()
        try:
            print(json.dumps([command, *arguments]), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        assert line, f"{command}: the client ended or said nothing for {SECONDS} s"
        answer: dict[str, Any] = json.loads(line)
        self.told += map(tuple, answer.pop("told"))
        self.asked += answer.pop("asked")
        self.http += map(tuple, answer.pop("http"))
        return answer

    def __call__(self, command: str, *arguments: Any) -> Any:
        """The result."""
        answer = self.answer(command, *arguments)
        assert "result" in answer, answer
        return answer["result"]

    def text(self, tool: str, **arguments: Any) -> str:
        result = self("callTool", {"name": tool, "arguments": arguments})
        assert not result.get("isError"), result
        (block,) = result["content"]
        text: str = block["text"]
        return text

    def names(self) -> list[str]:
        """All pages."""
        names: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = self("listTools", cursor) if cursor else self("listTools")
            names += [tool["name"] for tool in page["tools"]]
            if not page.get("nextCursor"):
                return names
            cursor = {"cursor": page["nextCursor"]}


@contextmanager
def typescript_client(sdk: str, mode: str, url: str, token: str | None = None, **options: Any) -> Generator[Any]:
    """Not connected yet."""
    settings = {"sdk": sdk, "mode": mode, "url": url, "token": token, **options}
    command = [_MODULES / ".bin" / "node", CLIENTS / "driver.mjs", json.dumps(settings)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield TypeScriptClient(process)
    finally:
        process.kill()
        process.communicate(timeout=10)


def inspect(home: Path, url: str, era: str, *arguments: str, token: str | None = None) -> tuple[int, Any]:
    """Exit code and JSON of the inspector's command line; `home`: where it may keep files."""
    command = [_MODULES / ".bin" / "node", _INSPECTOR, "--cli", url, "--transport", "http", "--protocol-era", era]
    command += ["--format", "json", "--quiet", "--stored-auth-only", *arguments]
    command += ["--header", f"Authorization: Bearer {token}"] if token is not None else []
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.returncode, json.loads(done.stdout or done.stderr)
