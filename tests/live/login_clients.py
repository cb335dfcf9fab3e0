"""MCP clients with a login of their own, as processes and with a scripted browser."""

import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any, Protocol

import pytest
from bench.systems import NotInstalled, install_fastmcp
from tests.e2e import npm_clients
from tests.live.servers import IS_REQUIRED

CLIENTS = Path(__file__).parent / "clients"
BIN = CLIENTS / "node_modules" / ".bin"
PRE_REGISTERED = "stoa-mcp"
SECONDS = 60
"""That a client may take for one answer, the login included."""
_BROWSER = [sys.executable, str(Path(__file__).with_name("browser.py"))]
_INHERITED = ("PATH", "LANG")


class Client(Protocol):
    """What every driver can do. Each logs in when it must."""

    def list(self) -> set[str]: ...

    def call(self, tool: str) -> str | None:
        """Why it failed; None: it did not."""
        ...


class Person:
    """The user of one client: a home folder, and a browser that logs in."""

    def __init__(self, home: Path, user: str) -> None:
        home.mkdir(parents=True)
        self.home, self.user = home, user
        self._log = home / "logins"
        browser = home / "browser"
        browser.write_text(f'#!/bin/sh\n{shlex.join(_BROWSER)} "$@" &\n', encoding="utf-8")
        browser.chmod(0o755)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self.environment = {
            **inherited,
            "PATH": f"{BIN}:{inherited['PATH']}",
            "HOME": str(home),
            "BROWSER": str(browser),
            "STOA_LOGIN_USER": user,
            "STOA_LOGIN_LOG": str(self._log),
        }

    @property
    def logins(self) -> int:
        """How often the browser was opened."""
        return len(self._log.read_text(encoding="utf-8").splitlines()) if self._log.exists() else 0

    def run(self, *command: str | Path, within: float = SECONDS) -> str:
        """The output of a program that needs no terminal."""
        done = subprocess.run(
            [str(part) for part in command],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        return done.stdout + done.stderr

    def run_at_terminal(self, *command: str | Path, within: float = SECONDS) -> str:
        """The output of a program that wants a terminal."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.home)
            os.execvpe(str(command[0]), [str(part) for part in command], self.environment)
        output, deadline = b"", time.monotonic() + within
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            try:
                some = os.read(terminal, 65536)
            except OSError:  # it ended
                break
            if not some:
                break
            output += some
        else:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
        return output.decode(errors="replace")


@contextmanager
def piped(command: Sequence[str | Path], environment: Mapping[str, str], cwd: Path) -> Generator["Pipe"]:
    with (cwd / "stderr").open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            cwd=cwd,
        )
    try:
        yield Pipe(process, cwd / "stderr")
    finally:
        process.kill()
        process.communicate(timeout=10)


class Pipe:
    """JSON lines to and from a process."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process, self._log = process, log

    def send(self, message: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps(message), file=self._process.stdin, flush=True)

    def receive(self) -> Any:
        assert self._process.stdout is not None
        timer = Timer(SECONDS, self._process.kill)
        timer.start()
        try:
            line = next((line for line in self._process.stdout if line.strip()), "")
        finally:
            timer.cancel()
        assert line, f"the client ended or said nothing for {SECONDS} s:\n{self._log.read_text()[-3000:]}"
        return json.loads(line)


class Driven:
    """login.mjs and fastmcp_client.py."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def list(self) -> set[str]:
        answer = self._ask("list")
        assert "result" in answer, answer
        return set(answer["result"])

    def call(self, tool: str) -> str | None:
        answer = self._ask("call", tool)
        return answer.get("error") or ("tool error" if answer["result"] else None)

    def _ask(self, *command: str) -> dict[str, Any]:
        self._pipe.send(command)
        answer: dict[str, Any] = self._pipe.receive()
        return answer


class Rpc:
    """Requests of a client that are JSON-RPC on pipes: mcp-remote, which speaks MCP there, and Codex' app server."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._last = pipe, 0

    def tell(self, method: str) -> None:
        self._pipe.send({"jsonrpc": "2.0", "method": method})

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """`result` or `error`; notifications in between are left out."""
        self._last += 1
        self._pipe.send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        while True:
            answer: dict[str, Any] = self._pipe.receive()
            if answer.get("id") == self._last and "method" not in answer:
                return answer


class McpRemote:
    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        assert "result" in rpc.ask("initialize", **hello)
        rpc.tell("notifications/initialized")

    def list(self) -> set[str]:
        answer = self._rpc.ask("tools/list")
        assert "result" in answer, answer
        return {tool["name"] for tool in answer["result"]["tools"]}

    def call(self, tool: str) -> str | None:
        return _problem(self._rpc.ask("tools/call", name=tool, arguments={}))


class Codex:
    """Codex without a model: its app server lists and calls as its agent would."""

    def __init__(self, rpc: Rpc, folder: Path) -> None:
        self._rpc = rpc
        assert "result" in rpc.ask("initialize", clientInfo={"name": "t", "title": "t", "version": "1"})
        rpc.tell("initialized")
        self._thread = rpc.ask("thread/start", cwd=str(folder))["result"]["thread"]["id"]

    def list(self) -> set[str]:
        (server,) = self._rpc.ask("mcpServerStatus/list")["result"]["data"]
        assert server["name"] == "stoa"
        return set(server["tools"])

    def call(self, tool: str) -> str | None:
        call = {"threadId": self._thread, "server": "stoa", "tool": tool, "arguments": {}}
        return _problem(self._rpc.ask("mcpServer/tool/call", **call))


def _problem(answer: dict[str, Any]) -> str | None:
    if "error" in answer:
        return str(answer["error"]["message"])
    return "tool error" if answer["result"].get("isError") else None


@contextmanager
def typescript(sdk: str, url: str, person: Person, client_id: str | None) -> Generator[Client]:
    npm_clients.install()
    options = {"sdk": sdk, "url": url, "clientId": client_id, "browser": [*_BROWSER, "--callback"]}
    node = npm_clients.CLIENTS / "node_modules" / ".bin" / "node"
    command = [node, npm_clients.CLIENTS / "login.mjs", json.dumps(options)]
    with piped(command, person.environment, person.home) as pipe:
        yield Driven(pipe)


@contextmanager
def fastmcp(url: str, person: Person, client_id: str | None) -> Generator[Client]:
    try:
        python = install_fastmcp()
    except NotInstalled as missing:
        pytest.fail(str(missing)) if IS_REQUIRED else pytest.skip(str(missing))
    command = [python, CLIENTS / "fastmcp_client.py", url, *([client_id] if client_id else [])]
    with piped(command, person.environment, person.home) as pipe:
        yield Driven(pipe)


@contextmanager
def mcp_remote(url: str, person: Person, client_id: str | None) -> Generator[Client]:
    given = {"client_id": client_id} if client_id else {"client_uri": "http://localhost"}
    option = "--static-oauth-client-info" if client_id else "--static-oauth-client-metadata"
    command = [BIN / "node", BIN / "mcp-remote", url, option, json.dumps(given)]
    with piped(command, person.environment, person.home) as pipe:
        yield McpRemote(Rpc(pipe))


def codex_login(url: str, person: Person, *options: str) -> str:
    config = person.home / ".codex" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(f'[mcp_servers.stoa]\nurl = "{url}"\n', encoding="utf-8")
    return person.run(BIN / "codex", "mcp", "login", "stoa", *options)


@contextmanager
def codex(person: Person) -> Generator[Client]:
    with piped([BIN / "codex", "app-server"], person.environment, person.home) as pipe:
        yield Codex(Rpc(pipe), person.home)
