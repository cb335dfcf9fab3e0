"""Answers over stdio while the gateway starts: imports, policy and catalogue take a second, and clients give up sooner.

A Front answers initialize, ping and server/discover as `introduction.py` has them, and holds every other message, in
order, until the gateway takes over. It leaves refusals to the gateway. An initialize that it answered reaches the
gateway too, which authenticates it and begins the session. Without a valid token the client, which is the program that
started this process, learns the server's name and version only.

Blocking, in a thread of its own: asyncio is one of the imports that have to wait.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.lines import LINE_LIMIT, Lines
from stoa.interfaces.mcp.jsonrpc.messages import INTERNAL_ERROR, Fault, Request
from stoa.interfaces.mcp.wire import envelope
from stoa.interfaces.mcp.wire.introduction import Introduction

_OVERHEAD = 100
HELD_LIMIT = LINE_LIMIT
"""Bytes of messages that are held; then no more is read until the gateway takes over."""


class ReceivedLine(NamedTuple):
    """One message as it came, for the gateway to answer."""

    line: bytes | None
    """The bytes without the line feed; None: there were too many."""
    is_answered: bool = False
    """The client has its answer already."""


@dataclass(slots=True)
class ReceivedInput:
    """The input that a Front leaves to the gateway."""

    messages: list[ReceivedLine] = field(default_factory=list[ReceivedLine])
    lines: Lines = field(default_factory=Lines)
    """Holds the bytes of a message that has not arrived as a whole."""


class Front:
    """Serves one client until the gateway does. `send` writes a whole message, or raises OSError when the client is
    gone."""

    def __init__(self, introduction: Introduction, send: Callable[[bytes], None]) -> None:
        self._introduction = introduction
        self._send = send
        self._input = ReceivedInput()
        self._held_bytes = 0
        self._is_introduced = False
        self._changed = threading.Condition()
        self._has_heard = False
        self._is_over = False

    def serve(self, read: Callable[[], bytes]) -> bytes:
        """Read until the gateway takes over or the input ends. Returns the bytes that were read for the gateway; none
        at the end of the input. Raises OSError as `read` does."""
        while chunk := read():
            with self._changed:
                self._changed.wait_for(lambda: self._is_over or self._held_bytes < HELD_LIMIT)
                if self._is_over:
                    return chunk
                for line in self._input.lines.feed(chunk):
                    self._take(line)
                    self._has_heard = True
                self._changed.notify_all()
        with self._changed:
            self._has_heard = True
            self._changed.notify_all()
        return b""

    def hear(self, timeout_seconds: float) -> None:
        """Wait until the first message is handled, so that the gateway's start does not compete with its answer."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_heard, timeout_seconds)

    def hand_over(self) -> ReceivedInput:
        """Let the gateway answer from now on. Returns what it has to answer."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
            return self._input

    def give_up(self, reason: str) -> None:
        """Answer every held request with `reason`, because the gateway could not start. Does nothing after
        `hand_over`."""
        if self._is_over:
            return
        for received in self.hand_over().messages:
            request = None if received.is_answered or received.line is None else _read(received.line)
            if request is not None:
                self._write(messages.error(request.id, INTERNAL_ERROR, f"The gateway could not start: {reason}"))

    def _take(self, line: bytes | None) -> None:
        request = None if line is None else _read(line)
        answer = None if request is None else self._answer(request)
        is_answered = answer is not None and self._write(answer)
        begins_session = request is not None and request.method == "initialize"
        self._is_introduced = self._is_introduced or (is_answered and begins_session)
        # The gateway has to see an initialize that was answered here: it begins the session.
        if begins_session or not is_answered:
            self._input.messages.append(ReceivedLine(line, is_answered))
            self._held_bytes += len(line or b"") + _OVERHEAD

    def _answer(self, request: Request) -> bytes | None:
        """The result for a request; None: the gateway has to answer."""
        try:
            if envelope.names_revision(request.params):
                if request.method != "server/discover":
                    return None
                result = self._introduction.discover(envelope.check_envelope(request, None))
            elif request.method == "ping":
                result = {}
            elif request.method == "initialize" and not self._is_introduced:
                _, result = self._introduction.initialize(request.params)
            else:
                return None
        except Fault:
            return None
        return messages.result(request.id, result)

    def _write(self, message: bytes) -> bool:
        try:
            self._send(message + b"\n")
        except OSError:  # the client is gone, as the gateway will see
            return False
        return True


def _read(line: bytes) -> Request | None:
    """The request that a line holds; None: it holds something else."""
    try:
        message = messages.read(messages.parse(line))
    except Fault:
        return None
    return message if isinstance(message, Request) else None
