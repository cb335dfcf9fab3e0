"""Remembers the spans of calls, for tests and as a pattern for tracers that export them."""

from stoa.application.ports.invocation_observer import InvocationObserver, InvocationTracer, Span
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.calls.trace_context import TraceContext


class InMemorySpan(Span):
    def __init__(self, name: str, caller: TraceContext | None) -> None:
        """`caller`: the parent of this span; without one it begins no trace of its own, and none is sent on."""
        self.name = name
        self.children: list[InMemorySpan] = []
        self.ends = 0
        self.outcome: Outcome | None = None
        self._trace = None if caller is None else caller.child()

    @property
    def trace(self) -> TraceContext | None:
        return self._trace

    def child(self, name: str) -> "InMemorySpan":
        child = InMemorySpan(name, self._trace)
        self.children.append(child)
        return child

    def end(self, outcome: Outcome | None = None) -> None:
        self.ends += 1
        self.outcome = outcome


class InMemoryTracer(InvocationObserver, InvocationTracer):
    def __init__(self) -> None:
        self.spans: list[InMemorySpan] = []

    def started(self, invocation: Invocation) -> InMemorySpan:
        span = InMemorySpan(invocation.name, invocation.trace)
        self.spans.append(span)
        return span

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        """Does nothing: spans end with their outcome."""
