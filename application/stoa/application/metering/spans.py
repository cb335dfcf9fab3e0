"""Spans of a tracer, made safe for the pipeline: their exceptions are logged and change no call."""

import logging

from stoa.application.ports.invocation_observer import InvocationTracer, Span
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.calls.trace_context import TraceContext

_log = logging.getLogger(__name__)


def traced(tracer: InvocationTracer, invocation: Invocation) -> Span | None:
    """The span of a call that begins now; None if the tracer failed."""
    try:
        span = tracer.started(invocation)
        return _SafeSpan(span, span.trace)
    except Exception:  # noqa: BLE001  # a broken tracer must not fail a call
        _log.exception("a tracer failed")
        return None


class _SafeSpan(Span):
    def __init__(self, span: Span | None, trace: TraceContext | None) -> None:
        """`span`: None if the tracer failed to make it, so that there is nothing to end."""
        self._span = span
        self._trace = trace

    @property
    def trace(self) -> TraceContext | None:
        return self._trace

    def child(self, name: str) -> Span:
        try:
            child = None if self._span is None else self._span.child(name)
            return _SafeSpan(child, self._trace if child is None else child.trace)
        except Exception:  # noqa: BLE001  # as above
            _log.exception("a tracer failed")
            return _SafeSpan(None, self._trace)

    def end(self, outcome: Outcome | None = None) -> None:
        try:
            if self._span is not None:
                self._span.end(outcome)
        except Exception:  # noqa: BLE001  # as above
            _log.exception("a tracer failed")
