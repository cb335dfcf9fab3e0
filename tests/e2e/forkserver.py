"""Python programs for tests without their imports: a server that has imported everything forks them.

`stoa` needs two seconds of CPU to import itself on a slow machine and a fraction of that to start. What is forked runs
the program's file as `__main__`, with its own arguments, environment, folder, streams and session. test_startup.py
starts gateways the ordinary way.

Run as a program, this file is the server (`forkserver.py SOCKET`) or a stand-in for the program, for those who want to
start it themselves (`forkserver.py SOCKET PROGRAM ARGUMENT...`): it lends its streams, passes signals on and ends as
the program does.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

_IMPORTED = (
    *(
        f"stoa.interfaces.cli.{name}"
        for name in ("demo", "doctor", "serve", "stdio_gateway", "convert", "tools", "call", "token")
    ),
    "stoa.interfaces.cli.policy",
    "stoa.interfaces.cli.usage",
    "stoa.interfaces.cli.app",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)


class Forked:
    """A program that the server forked; the part of `subprocess.Popen` that tests use."""

    def __init__(
        self, server: Path, program: Sequence[str], environment: Mapping[str, str], folder: str, streams: Sequence[int]
    ) -> None:
        self._program = program
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(server))
        request = json.dumps([list(program), dict(environment), folder]).encode()
        socket.send_fds(self._connection, [len(request).to_bytes(4, "big")], list(streams))
        self._connection.sendall(request)
        self._told = self._connection.makefile("r")
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, a signal's as a negative number; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(list(self._program), timeout or 0)
            self.returncode = int(self._told.readline())
            self._told.close()
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def end(self) -> None:
        """Ask it to end, and make it end if it does not."""
        self.send_signal(signal.SIGTERM)
        try:
            self.wait(10)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
            self.wait(10)


@cache
def _server() -> Path:
    """Its socket. It lives until this process ends, which closes its standard input."""
    folder = tempfile.mkdtemp(prefix="stoa-fork-")  # the server removes it
    path = Path(folder) / "socket"
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    _server.process = process  # type: ignore[attr-defined]  # not collected, or its standard input would be closed
    return path


def start(program: Sequence[str], *, environment: Mapping[str, str], output: int, folder: Path | None = None) -> Forked:
    """A Python file and its arguments; both output streams go to `output`, and there is no input."""
    with open(os.devnull, "rb") as nothing:
        return Forked(_server(), program, environment, str(folder or Path.cwd()), (nothing.fileno(), output, output))


def command(*program: str) -> list[str]:
    """A command line that does what the program does."""
    return [sys.executable, "-I", "-S", __file__, str(_server()), *program]


def _serve(path: str) -> None:
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _keep(connection)
            connection.close()
    os.unlink(path)
    os.rmdir(os.path.dirname(path))


def _keep(connection: socket.socket) -> NoReturn:
    """Forks the program, tells its process id, waits for its end and tells how it ended."""
    size, streams, *_ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as sent:
        (file, *arguments), environment, folder = json.loads(sent.read(int.from_bytes(size, "big")))
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv[:] = [file, *arguments]
        runpy.run_path(file, run_name="__main__")
        sys.exit(0)
    for stream in streams:
        os.close(stream)
    connection.sendall(f"{pid}\n".encode())
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(ConnectionError):  # nobody waits for it
        connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _stand_in(server: str, program: list[str]) -> NoReturn:
    forked = Forked(Path(server), program, os.environ, os.getcwd(), (0, 1, 2))
    for stream in (0, 1, 2):
        os.close(stream)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(forked.pid, number))
    status = forked.wait()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[2:]:
        _stand_in(sys.argv[1], sys.argv[2:])
    _serve(sys.argv[1])
