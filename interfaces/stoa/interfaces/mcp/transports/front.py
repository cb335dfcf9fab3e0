"""Answers over stdio before the gateway is there: its imports, policy and catalogue take a second, and clients leave.

A Front answers initialize, ping and server/discover, in the words of `introduction.py`, and keeps every other message
in order until the gateway takes over. What it cannot answer well is for the gateway to refuse, and what it did answer
reaches the gateway nonetheless: there initialize is authenticated and begins the session. The gateway's client is the
program that started this process, and learns nothing but the server's name and version without a good token.

Blocking, for a thread of its own: asyncio is one of the imports that have to wait.
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
KEPT_LIMIT = LINE_LIMIT
"""Bytes of messages that wait; then no more is read until the gateway takes over."""


class Kept(NamedTuple):
    """A message for the gateway."""

    line: bytes | None
    """None: it was too long."""
    is_answered: bool = False
    """The client has its answer."""


@dataclass(slots=True)
class Waiting:
    """What a Front leaves to the gateway."""

    messages: list[Kept] = field(default_factory=list[Kept])
    lines: Lines = field(default_factory=Lines)
    """Begun with the bytes of a message that has not arrived as a whole."""


class Front:
    """Serves one client until the gateway does. `send` writes a whole message and raises OSError when nobody reads."""

    def __init__(self, introduction: Introduction, send: Callable[[bytes], None]) -> None:
        self._introduction = introduction
        self._send = send
        self._waiting = Waiting()
        self._kept_bytes = 0
        self._is_introduced = False
        self._changed = threading.Condition()
        self._has_heard = False
        self._is_over = False

    def serve(self, read: Callable[[], bytes]) -> bytes:
        """Read until the gateway takes over or nothing follows. Returns what was read for the gateway: some bytes, or
        none at the end. Raises OSError as `read` does."""
        while chunk := read():
            with self._changed:
                self._changed.wait_for(lambda: self._is_over or self._kept_bytes < KEPT_LIMIT)
                if self._is_over:
                    return chunk
                for line in self._waiting.lines.feed(chunk):
                    self._take(line)
                    self._has_heard = True
                self._changed.notify_all()
        with self._changed:
            self._has_heard = True
            self._changed.notify_all()
        return b""

    def hear(self, timeout_seconds: float) -> None:
        """Wait for the first message, so that what follows does not compete with its answer."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_heard, timeout_seconds)

    def hand_over(self) -> Waiting:
        """From now on the gateway answers."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
            return self._waiting

    def give_up(self, reason: str) -> None:
        """The gateway could not start: every request that waits is told why. Does nothing after `hand_over`."""
        if self._is_over:
            return
        for kept in self.hand_over().messages:
            request = None if kept.is_answered or kept.line is None else _read(kept.line)
            if request is not None:
                self._write(messages.error(request.id, INTERNAL_ERROR, f"The gateway could not start: {reason}"))

    def _take(self, line: bytes | None) -> None:
        request = None if line is None else _read(line)
        answer = None if request is None else self._answer(request)
        is_answered = answer is not None and self._write(answer)
        begins_session = request is not None and request.method == "initialize"
        self._is_introduced = self._is_introduced or (is_answered and begins_session)
        if begins_session or not is_answered:
            self._waiting.messages.append(Kept(line, is_answered))
            self._kept_bytes += len(line or b"") + _OVERHEAD

    def _answer(self, request: Request) -> bytes | None:
        """None: the gateway answers."""
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
    """A request, if that is what it is."""
    try:
        message = messages.read(messages.parse(line))
    except Fault:
        return None
    return message if isinstance(message, Request) else None
