"""Standard input and output of this process as the connection of one MCP client, and a Front that answers there.

Reading and writing block. For what may be imported here see `introduction.py`.
"""

import os
import queue
import sys
import threading
from types import TracebackType

from stoa.interfaces.mcp.transports.front import Front, ReceivedInput
from stoa.interfaces.mcp.wire.introduction import Introduction

_CHUNK = 64 * 1024
_HEAR_SECONDS = 0.5
"""Clients send `initialize` at once; one that does not is waited for no longer."""


class StdioConnection:
    """Reserves standard input and output for the protocol while it is entered: other code that prints, prints to
    standard error, and other code that reads finds the end of input. One line that a library prints would break the
    protocol."""

    def __init__(self) -> None:
        self._incoming = self._outgoing = -1
        self._front: Front | None = None
        self._left: queue.SimpleQueue[bytes | OSError] | None = None

    def __enter__(self) -> "StdioConnection":
        sys.stdout.flush()
        self._incoming, self._outgoing = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        sys.stdout.flush()
        os.dup2(self._incoming, 0)
        os.dup2(self._outgoing, 1)

    def greet(self, introduction: Introduction) -> None:
        """Answer what needs no gateway until `take_over`. Returns when the first message was answered or held, so that
        the start of the gateway does not compete with it for the processor."""
        front = self._front = Front(introduction, self.write)
        left = self._left = queue.SimpleQueue()

        def serve() -> None:
            try:
                left.put(front.serve(self._read))
            except OSError as caught:
                left.put(caught)

        threading.Thread(target=serve, name="stdio-front", daemon=True).start()
        front.hear(_HEAR_SECONDS)

    def take_over(self) -> ReceivedInput:
        """The input so far that waits for an answer. From now on the caller reads and writes, with one thread each."""
        return ReceivedInput() if self._front is None else self._front.hand_over()

    def give_up(self, reason: str) -> None:
        """Refuse every request that waits, unless `take_over` was called."""
        if self._front is not None:
            self._front.give_up(reason)

    def read(self) -> bytes:
        """Read some bytes; none at the end of the input. Raises OSError."""
        left, self._left = self._left, None
        if left is None:
            return self._read()
        chunk = left.get()  # the Front's thread was reading when it was relieved
        if isinstance(chunk, OSError):
            raise chunk
        return chunk

    def write(self, message: bytes) -> None:
        """Write all of the bytes. Raises OSError when the client is gone."""
        view = memoryview(message)
        while view:
            view = view[os.write(self._outgoing, view) :]

    def _read(self) -> bytes:
        return os.read(self._incoming, _CHUNK)
