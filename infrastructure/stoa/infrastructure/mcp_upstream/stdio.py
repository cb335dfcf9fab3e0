"""Upstream servers over stdio (2025-11-25 and 2026-07-28, "stdio"): programs that the gateway starts.

A program gets the variables of its manifest and a few that every program needs, never the gateway's environment, where
secrets are. Its whole process group ends with the session.
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
from collections.abc import Iterator, Mapping

from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.domain.errors import BackendError, BackendProtocolError, BackendUnavailable
from stoa.domain.schema.plain_text import plain
from stoa.infrastructure.mcp_upstream.binding import Program
from stoa.infrastructure.mcp_upstream.conversation import MESSAGES_A_TURN
from stoa.infrastructure.mcp_upstream.duplex import DuplexSession
from stoa.infrastructure.mcp_upstream.messages import MAX_MESSAGE_BYTES, UpstreamFault, flood
from stoa.infrastructure.mcp_upstream.per_second import MAX_LINES, PerSecond
from stoa.infrastructure.mcp_upstream.session import NO_ACCESS, STATELESS, Access, Call, Peer

_log = logging.getLogger(__name__)

INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
"""Variables that every program gets from the gateway's environment."""
DISCOVER_SECONDS = 10.0
"""A server of the handshake era may leave a request of the stateless era unanswered."""
END_SECONDS = 2.0
"""Of each step in which a program is asked to end: its input is closed, it is told to terminate, it is killed."""
EXIT_SECONDS = 0.5
"""Between the end of a program's output and its own."""
MAX_LOG_LINES_PER_SECOND = 50
MAX_LOG_LINE = 2000
MAX_LOG_BYTES_PER_SECOND = 1024 * 1024
"""Bytes that are read from a program's stderr in a second; a program that writes more has to wait."""
_CHUNK = 64 * 1024
_PIECE = 8 * 1024
"""Bytes of a program's output that are read in one turn of the loop: a thousand messages would hold up other calls."""


class LineTooLong(ValueError):
    """A line has more bytes than a message may have."""


class StdioSession(DuplexSession):
    """One process of a program."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        whose: str,
        capabilities: ClientCapabilities,
        *,
        hidden: tuple[str, ...] = (),
    ) -> None:
        """`hidden`: the secrets that the program knows, kept out of the log."""
        super().__init__(whose, capabilities)
        self._process = process
        self._hidden = tuple(secret for secret in hidden if secret)
        self._logged = PerSecond(MAX_LOG_LINES_PER_SECOND)
        self._readers = [
            asyncio.create_task(self._read(), name="read an upstream MCP server"),
            asyncio.create_task(self._log_errors(), name="read the log of an upstream MCP server"),
        ]

    async def close(self) -> None:
        if self.is_closed and not self._readers:
            return
        self._end(self._gone())
        readers, self._readers = self._readers, []
        for task in (*readers, *self._parting):
            task.cancel()
        await asyncio.gather(*readers, *self._parting, return_exceptions=True)
        await asyncio.shield(_ended(self._process))

    async def _discover(self, access: Access, *, is_only: bool) -> bool:
        self.peer = Peer(STATELESS, {}, {})
        is_known = False
        with contextlib.suppress(TimeoutError, UpstreamFault):
            async with asyncio.timeout(DISCOVER_SECONDS):
                is_known = self._discovered(await self.request("server/discover", {}, Call(access=access)))
        if is_only and not is_known:
            raise BackendUnavailable(f"The back end of {self.whose} failed: it does not speak {STATELESS}")
        self.has_state = not is_known
        return is_known

    async def _read(self) -> None:
        """Serve all conversations of this process, and wait for none of them."""
        lines, pace = _Lines(MAX_MESSAGE_BYTES), PerSecond(MAX_LINES)
        stdout = self._process.stdout
        problem: BackendError | None = None
        try:
            while stdout is not None and (chunk := await stdout.read(_PIECE)):
                if not pace.takes(chunk.count(b"\n")):  # empty ones too, which are no messages
                    raise flood(self.whose)
                for number, line in enumerate(lines.feed(chunk), 1):
                    await self._take(line)
                    if number % MESSAGES_A_TURN == 0:
                        await asyncio.sleep(0)
                if len(chunk) == _PIECE:  # more has come, for which nothing would be waited for
                    await asyncio.sleep(0)
        except LineTooLong:
            problem = BackendProtocolError(
                f"The back end of {self.whose} failed: it sent a message of more than {MAX_MESSAGE_BYTES} bytes"
            )
        except BackendProtocolError as flooded:
            problem = flooded
        except OSError:
            pass
        if problem is None:
            with contextlib.suppress(TimeoutError):  # for its exit code
                async with asyncio.timeout(EXIT_SECONDS):
                    await self._process.wait()
        self._end(problem or self._gone())
        await asyncio.shield(_ended(self._process))

    async def _write(self, message: bytes, access: Access = NO_ACCESS) -> None:
        del access  # a program has its secrets in its environment
        stdin = self._process.stdin
        if stdin is None or self.is_closed:
            raise self._problem or self._gone()
        try:
            stdin.write(message + b"\n")
            await stdin.drain()
        except (OSError, RuntimeError):
            raise self._gone() from None

    def _gone(self) -> BackendUnavailable:
        code = self._process.returncode
        how = "" if code is None else f" (exit code {code})"
        return BackendUnavailable(f"The back end of {self.whose} failed: its program ended{how}")

    async def _log_errors(self) -> None:
        lines, stderr = _Lines(MAX_LOG_LINE * 4, is_cut=True), self._process.stderr
        pace = PerSecond(MAX_LOG_BYTES_PER_SECOND)
        with contextlib.suppress(OSError):
            while stderr is not None and (chunk := await stderr.read(_PIECE)):
                for line in lines.feed(chunk):
                    self._said(line)
                if not pace.takes(len(chunk)):  # its program waits, instead of keeping the gateway busy
                    await asyncio.sleep(1)
                elif len(chunk) == _PIECE:
                    await asyncio.sleep(0)

    def _said(self, line: bytes) -> None:
        if not self._logged.takes(1):
            return
        text = line.decode("utf-8", "replace")
        for secret in self._hidden:
            text = text.replace(secret, "[secret]")
        _log.info("upstream MCP server %s: %s", self.whose, plain(text)[:MAX_LOG_LINE])


async def start(
    program: Program,
    whose: str,
    capabilities: ClientCapabilities,
    secrets: Mapping[str, str],
    environment: Mapping[str, str],
) -> StdioSession:
    """Start the program. `environment`: of the gateway. Raises BackendUnavailable if it cannot be started."""
    inherited = {name: environment[name] for name in INHERITED if name in environment}
    try:
        process = await asyncio.create_subprocess_exec(
            program.command,
            *program.arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=program.directory,
            env={**inherited, **dict(program.environment), **secrets},
            limit=_CHUNK,
            start_new_session=True,
        )
    except (OSError, ValueError) as failed:
        reason = os.strerror(failed.errno) if isinstance(failed, OSError) and failed.errno else "it cannot be started"
        raise BackendUnavailable(f"The back end of {whose} failed: {program.command}: {reason}") from None
    _limit(process.pid, program)
    return StdioSession(process, whose, capabilities, hidden=tuple(secrets.values()))


def _limit(pid: int, program: Program) -> None:
    """Bound the process, and with it those that it starts; only Linux can do that from outside. Before its first
    instructions have run much, which a limit on what it may take later does not need."""
    if not hasattr(resource, "prlimit"):
        return
    limits = {
        resource.RLIMIT_DATA: program.memory_bytes,
        resource.RLIMIT_NOFILE: program.open_files,
        resource.RLIMIT_CORE: 0,
    }
    for limit, most in limits.items():
        with contextlib.suppress(OSError, ValueError):  # it has ended already, or has a lower limit
            _, hard = resource.prlimit(pid, limit)
            highest = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(pid, limit, (highest, highest))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Ask the process group to end, more and more firmly."""
    if process.stdin is not None:
        process.stdin.close()
    for sign in (None, signal.SIGTERM, signal.SIGKILL):
        if sign is not None:
            _signal(process.pid, sign)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
                break
    _signal(process.pid, signal.SIGKILL)  # those that it left behind
    for stream in (process.stdout, process.stderr):
        # Transports close at the end of what they read; one whose reader gave up would stay open.
        with contextlib.suppress(RuntimeError, TimeoutError, OSError):  # RuntimeError: it has a reader still
            async with asyncio.timeout(END_SECONDS):
                while stream is not None and await stream.read(_CHUNK):
                    pass


def _signal(group: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, sign)


class _Lines:
    """Cuts a stream of bytes into lines. `is_cut`: a line that is too long is cut, instead of raising LineTooLong."""

    def __init__(self, limit: int, *, is_cut: bool = False) -> None:
        self._limit = limit
        self._is_cut = is_cut
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self._add(piece)
            line = bytes(self._rest).strip()
            self._rest.clear()
            if line:
                yield line
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        self._rest += piece
        if len(self._rest) > self._limit:
            if not self._is_cut:
                raise LineTooLong
            del self._rest[self._limit :]
