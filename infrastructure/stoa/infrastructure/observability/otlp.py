"""Spans of calls to an OpenTelemetry collector, or what reads its protocol: OTLP over HTTP, in JSON.

A span is written when it ends, into a bounded queue; a collector that is away or slow costs spans and never a call.
Attributes hold no arguments, results, tokens or subjects.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Mapping

import pydantic_core

from stoa.application.concurrency.supervisor import Sleep
from stoa.application.ports.clock import Clock
from stoa.application.ports.invocation_observer import InvocationObserver, InvocationTracer, Span
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.metering.event import Status
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.http_client.client import HttpClient
from stoa.infrastructure.http_client.problems import connection_problem

MAX_QUEUED = 4096
"""Spans that wait; further ones are dropped."""
BATCH = 512
FLUSH_SECONDS = 5.0
TIMEOUT_SECONDS = 10.0
LAST_SECONDS = 2.0
_MAX_ANSWER_BYTES = 64 * 1024
_SERVER, _CLIENT = 2, 3
"""Span.SpanKind: the call, and the part of it in which the back end is called."""
_ERROR = 2
_FAILED = frozenset({Status.ERROR, Status.TIMEOUT})
"""States of calls that the gateway or a back end failed to answer. Refusals are answers (OpenTelemetry, "HTTP spans",
on 4xx)."""
_log = logging.getLogger(__name__)


class OtlpTracer(InvocationObserver, InvocationTracer):
    """Sends spans to `endpoint`, a URL below which `/v1/traces` is. Traces of callers go on; a caller that does not
    sample its trace is believed. `run` has to run in the background."""

    def __init__(
        self,
        endpoint: str,
        clock: Clock,
        *,
        service_name: str,
        version: str,
        headers: Mapping[str, str] | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._url = f"{endpoint.rstrip('/')}/v1/traces"
        self._clock = clock
        self._headers = {**(headers or {}), "Content-Type": "application/json"}
        self._resource = {"attributes": _attributes({"service.name": service_name, "service.version": version})}
        self._scope = {"name": "stoa-mcp-gateway", "version": version}
        self._sleep = sleep
        self._http = HttpClient(None, None, timeout_seconds=TIMEOUT_SECONDS, max_answer_bytes=_MAX_ANSWER_BYTES)
        self._queue: deque[JsonObject] = deque()
        self._dropped = 0
        self._is_away = False

    def started(self, invocation: Invocation) -> Span:
        caller = invocation.trace
        if caller is None:
            context = TraceContext(secrets.token_hex(16), secrets.token_hex(8), is_sampled=True)
        else:
            context = caller.child()
        return _OtlpSpan(
            self, invocation.kind, context, None if caller is None else caller.span_id, _SERVER, invocation
        )

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        """Does nothing: spans end with their outcome."""

    async def run(self) -> None:
        """Send what has ended, until cancelled; then what is left, as far as it goes in LAST_SECONDS."""
        try:
            while True:
                await self._sleep(FLUSH_SECONDS)
                await self._flush()
        finally:
            try:
                async with asyncio.timeout(LAST_SECONDS):
                    await self._flush()
            except TimeoutError:
                _log.warning("%d spans were not sent before the end", len(self._queue))
            finally:
                await self._http.close()

    def now_ns(self) -> int:
        now = self._clock.now()
        return int(now.timestamp()) * 1_000_000_000 + now.microsecond * 1000

    def monotonic_ns(self) -> int:
        return self._clock.monotonic_ns()

    def put(self, span: JsonObject) -> None:
        if len(self._queue) < MAX_QUEUED:
            self._queue.append(span)
        else:
            self._dropped += 1

    async def _flush(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            if not await self._send(batch):
                return
        if self._dropped:
            _log.warning("%d spans were dropped: the collector takes them slower than they end", self._dropped)
            self._dropped = 0

    async def _send(self, batch: list[JsonObject]) -> bool:
        """False: the collector does not take them, and these are lost."""
        scope = {"scope": self._scope, "spans": batch}
        body = pydantic_core.to_json({"resourceSpans": [{"resource": self._resource, "scopeSpans": [scope]}]})
        try:
            answer = await self._http.request("POST", self._url, data=body, headers=self._headers)
            problem = "" if 200 <= answer.status < 300 else f"it answers {answer.status}"
        except OSError as failure:
            problem = connection_problem(failure)
        if problem and not self._is_away:  # told once, and again after it came back
            _log.warning("spans cannot be sent to OTEL_EXPORTER_OTLP_ENDPOINT: %s", problem)
        self._is_away = bool(problem)
        return not problem


class _OtlpSpan(Span):
    def __init__(
        self,
        tracer: OtlpTracer,
        name: str,
        context: TraceContext,
        parent_id: str | None,
        kind: int,
        invocation: Invocation,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._context = context
        self._parent_id = parent_id
        self._kind = kind
        self._invocation = invocation
        self._began_at_ns = tracer.now_ns()
        self._began_ns = tracer.monotonic_ns()

    @property
    def trace(self) -> TraceContext:
        return self._context

    def child(self, name: str) -> "_OtlpSpan":
        context = self._context.child()
        return _OtlpSpan(self._tracer, name, context, self._context.span_id, _CLIENT, self._invocation)

    def end(self, outcome: Outcome | None = None) -> None:
        if not self._context.is_sampled:
            return
        attributes: dict[str, str | int] = {}
        name, is_failed = self._name, False
        if outcome is not None:
            event = outcome.event  # its names are bounded, and of a stranger's request it has none
            name, is_failed = f"{self._name} {event.tool}", outcome.status in _FAILED
            attributes = {
                "stoa.operation": event.tool,
                "stoa.door": self._invocation.door,
                "stoa.tenant": event.tenant,
                "stoa.consumer": event.consumer,
                "stoa.status": outcome.status.value,
                "stoa.request_id": outcome.request_id,
                "stoa.cost_micro_units": int(outcome.cost),
            }
            if outcome.error is not None:
                attributes["error.type"] = outcome.error.code
        span: JsonObject = {
            "traceId": self._context.trace_id,
            "spanId": self._context.span_id,
            "name": name,
            "kind": self._kind,
            "startTimeUnixNano": str(self._began_at_ns),
            "endTimeUnixNano": str(self._began_at_ns + self._tracer.monotonic_ns() - self._began_ns),
            "attributes": _attributes(attributes),
            "status": {"code": _ERROR} if is_failed else {},
        }
        if self._parent_id is not None:
            span["parentSpanId"] = self._parent_id
        if self._context.state:
            span["traceState"] = self._context.state
        self._tracer.put(span)


def _attributes(values: Mapping[str, str | int]) -> list[JsonObject]:
    """KeyValue messages; 64-bit integers are strings in ProtoJSON."""
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]
