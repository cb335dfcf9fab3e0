"""One line of JSON per metering event: per finished call, per client request of a call, and per summary of refused
calls that were counted together. A line names the caller, the operation, the decision and the outcome, but no
arguments, results or tokens. Because refused calls are summarised, strangers and callers who are refused repeatedly
cause only a few lines a minute.

Lines are collected and written a few times a second: one system call for many calls. A crash can lose the last lines of
this log; the metering events, which hold the same facts, are durable.
"""

import asyncio
from collections.abc import Mapping
from typing import BinaryIO

import pydantic_core

from stoa.application.ports.invocation_observer import InvocationObserver, RefusalObserver
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.metering.event import UNKNOWN_NAME, MeteringEvent, Status
from stoa.domain.policy.decision import Door

_FLUSH_SECONDS = 0.25


class AuditLog(InvocationObserver, RefusalObserver):
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: list[bytes] = []

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        principal, decision, event = outcome.principal, outcome.decision, outcome.event
        fields = {
            "audit": "invocation" if outcome.client_request is None else "question",
            "timestamp": event.timestamp,
            "request_id": outcome.request_id,
            "event_id": event.event_id,
            "door": invocation.door,
            "tenant": event.tenant,
            "user_id": event.user_id if event.user_id.isprintable() else _as_sent(event.user_id),
            "client": None if principal is None else principal.client,
            # One line for every reader: some end one at U+0085 or U+2028, which JSON leaves as they are.
            "consumer": event.consumer if event.consumer.isprintable() else _as_sent(event.consumer),
            "tool": event.tool,
            "status": str(event.status),  # an enum member costs as much as all the rest of the line
            "allowed": None if decision is None else decision.is_allowed,
            "rules": None if decision is None else decision.rules,
            "error": None if outcome.error is None else outcome.error.code,
            "latency_ms": outcome.latency_ms,
        }
        if event.tool == UNKNOWN_NAME:
            fields["asked"] = _as_sent(invocation.name)
        self._write(fields)

    def refused(self, door: Door, status: Status, code: str, calls: int) -> None:
        """Writes nothing: the summary event has the line."""

    def summarised(self, event: MeteringEvent, name: str) -> None:
        self._write(
            {
                "audit": "refusals",
                "timestamp": event.timestamp,
                "event_id": event.event_id,
                "door": event.metadata.get("door"),
                "since": event.metadata.get("since"),
                "calls": event.calls,
                "tenant": event.tenant,
                "tool": event.tool,
                "asked": _as_sent(name),
                "status": str(event.status),
                "error": event.metadata.get("error"),
            }
        )

    def _write(self, fields: Mapping[str, object]) -> None:
        if not self._lines:
            self._schedule()
        self._lines.append(pydantic_core.to_json(fields))

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Writes the collected lines."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._stream.write(b"\n".join(lines) + b"\n")
            self._stream.flush()


def _as_sent(name: str) -> str:
    """An unverified name, safe to log: truncated, without characters that a terminal or a log reader would
    interpret."""
    return "".join(
        character if character.isascii() and character.isprintable() else f"\\u{{{ord(character):x}}}"
        for character in name[:128]
    )
