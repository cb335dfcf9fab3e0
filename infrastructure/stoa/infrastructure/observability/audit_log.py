"""One line of JSON per metering event: per finished call, per client request of a call, and per summary of refused
calls that were counted together. A line names the caller, the operation, the decision and the outcome, but no
arguments, results or tokens. Because refused calls are summarised, strangers and callers who are refused repeatedly
cause only a few lines a minute.

Lines are collected and written a few times a second: one system call for many calls. A crash can lose the last lines of
this log; the metering events, which hold the same facts, are durable.
"""

import asyncio
from typing import BinaryIO, NamedTuple

import pydantic_core

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.ports.invocation_observer import InvocationObserver, RefusalObserver
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.metering.event import UNKNOWN_NAME, EventKind, MeteringEvent, Status, heading_of
from stoa.domain.policy.decision import Door

_FLUSH_SECONDS = 0.25


_MOST_ENCODED = 16_384
_Key = tuple[EventKind | None, str | None]
"""Kind of event, and client of the caller."""


class _Facts(NamedTuple):
    """All that a line says of its caller, its operation and its end. It is the same for events of one kind, so that
    only ids, time and duration have to be encoded for each."""

    audit: str
    door: Door
    tenant: str
    user_id: str
    client: str | None
    consumer: str
    tool: str
    status: Status
    allowed: bool | None
    rules: tuple[str, ...] | None
    error: str | None


def _facts_of(invocation: Invocation, outcome: Outcome) -> _Facts:
    principal, decision, event, error = outcome.principal, outcome.decision, outcome.event, outcome.error
    return _Facts(
        "invocation" if outcome.client_request is None else "question",
        invocation.door,
        event.tenant,
        event.user_id,
        None if principal is None else principal.client,
        event.consumer,
        event.tool,
        event.status,
        None if decision is None else decision.is_allowed,
        None if decision is None else decision.rules,
        None if error is None else error.code,
    )


def _encode(facts: _Facts) -> tuple[bytes, bytes]:
    """The line up to its time, and from its door up to its duration."""
    fields = facts._asdict()
    del fields["audit"]
    # One line for every reader: some end one at U+0085 or U+2028, which JSON leaves as they are.
    fields |= {name: _as_sent(fields[name]) for name in ("user_id", "consumer") if not fields[name].isprintable()}
    begin = b'{"audit":%b,"timestamp":' % pydantic_core.to_json(facts.audit)
    return begin, pydantic_core.to_json(fields)[1:-1] + b',"latency_ms":'


class AuditLog(InvocationObserver, RefusalObserver):
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._encoded: BoundedCache[_Key, tuple[bytes, bytes]] = BoundedCache(_MOST_ENCODED)

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        event, principal = outcome.event, outcome.principal
        heading = heading_of(event)
        kind = None if heading is None else heading[0]
        key = (kind, None if principal is None else principal.client)
        encoded = self._encoded.get(key)
        if encoded is None:
            encoded = _encode(_facts_of(invocation, outcome))
            if kind is not None:
                self._encoded.put(key, encoded)
        begin, middle = encoded
        if heading is not None and outcome.request_id is event.request_id:
            _, event_id, time, request_id = heading
        else:  # an event may have its request id cut, and as Unicode
            time, event_id = pydantic_core.to_json(event.timestamp), pydantic_core.to_json(event.event_id)
            request_id = pydantic_core.to_json(outcome.request_id)
        line = b"%b%b,\"request_id\":%b,\"event_id\":%b,%b%d" % (
            begin, time, request_id, event_id, middle, outcome.latency_ms
        )  # fmt: skip
        if event.tool == UNKNOWN_NAME:
            line += b',"asked":' + pydantic_core.to_json(_as_sent(invocation.name))
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        self._lines.append(line + b"}")

    def refused(self, door: Door, status: Status, code: str, calls: int) -> None:
        """Writes nothing: the summary event has the line."""

    def summarised(self, event: MeteringEvent, name: str) -> None:
        fields = {
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
        self._write(pydantic_core.to_json(fields))

    def _write(self, line: bytes) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        self._lines.append(line)

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
