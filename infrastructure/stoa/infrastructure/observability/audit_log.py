"""One line of JSON per finished call, and per question that a call asked its client: who called what, who decided it,
how it ended. No arguments, results or tokens.

Lines are collected and written a few times a second: one system call for many calls. What a crash can take are the
last lines of this log; the metering events, which say the same, are durable.
"""

import asyncio
from typing import BinaryIO

import pydantic_core

from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.domain.invocation import Invocation, Outcome

_FLUSH_SECONDS = 0.25


class AuditLog(InvocationObserver):
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: list[bytes] = []

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        principal, decision, event = outcome.principal, outcome.decision, outcome.event
        line = pydantic_core.to_json(
            {
                "audit": "invocation" if outcome.question is None else "question",
                "timestamp": event.timestamp,
                "request_id": outcome.request_id,
                "event_id": event.event_id,
                "door": invocation.door,
                "tenant": event.tenant,
                "user_id": event.user_id,
                "client": None if principal is None else principal.client,
                "consumer": event.consumer,
                "tool": event.tool,
                "status": str(event.status),  # an enum member costs as much as all the rest of the line
                "allowed": None if decision is None else decision.is_allowed,
                "rules": None if decision is None else decision.rules,
                "error": None if outcome.error is None else outcome.error.code,
                "latency_ms": outcome.latency_ms,
            }
        )
        if not self._lines:
            self._schedule()
        self._lines.append(line)

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what has collected."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._stream.write(b"\n".join(lines) + b"\n")
            self._stream.flush()
