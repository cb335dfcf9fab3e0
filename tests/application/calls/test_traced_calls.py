"""Spans of calls, and the trace that a back end is told of."""

import asyncio
from typing import Any

import pytest
from tests.application.pipeline import Pipeline, raises, tool, waits

from stoa.application.ports import CallContext
from stoa.domain.calls.invocation import BearerToken, Invocation
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.errors import BackendUnavailable
from stoa.domain.metering.event import Status
from stoa.domain.results.result import TextContent, ToolResult
from stoa.testing.invocation_observer import InMemoryInvocationObserver
from stoa.testing.tracer import InMemorySpan, InMemoryTracer

CALLER = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True, "vendor=1")


def traced() -> tuple[InMemoryTracer, Pipeline]:
    tracer = InMemoryTracer()
    return tracer, Pipeline(tool(), observers=[tracer])


async def test_trace_of_the_caller_goes_on_to_the_back_end_as_a_new_span_each_time() -> None:
    pipeline = Pipeline(tool())
    for _ in range(2):
        assert (await pipeline.invoke(trace=CALLER)).status is Status.SUCCESS
    first, second = (context.trace for _, context in pipeline.backend.received)
    assert first is not None
    assert second is not None
    assert len({CALLER.span_id, first.span_id, second.span_id}) == 3
    assert {(sent.trace_id, sent.state, sent.is_sampled) for sent in (first, second)} == {
        (CALLER.trace_id, "vendor=1", True)
    }


async def test_trace_that_no_caller_and_no_tracer_began_is_none() -> None:
    pipeline = Pipeline(tool())
    await pipeline.invoke()
    ((_, context),) = pipeline.backend.received
    assert (context.trace, context.span) == (None, None)


async def test_span_of_a_call_ends_once_with_its_outcome_and_holds_the_call_to_the_back_end() -> None:
    tracer, pipeline = traced()

    async def asks_upstream(arguments: Any, context: CallContext) -> ToolResult:
        assert context.span is not None
        upstream = context.span.child("upstream")
        upstream.end()
        return ToolResult((TextContent("done"),))

    pipeline.backend.behaviour = asks_upstream
    outcome = await pipeline.invoke(trace=CALLER)
    (span,) = tracer.spans
    (call,) = span.children
    (upstream,) = call.children
    assert (span.outcome, span.ends, call.ends, upstream.ends) == (outcome, 1, 1, 1)
    assert (span.name, call.name, upstream.name) == ("count", "call", "upstream")
    ((_, context),) = pipeline.backend.received
    assert context.trace == call.trace
    assert call.trace is not None
    assert call.trace.trace_id == CALLER.trace_id


@pytest.mark.parametrize(
    ("asked", "status", "children"),
    [
        ({"credential": BearerToken("bad")}, Status.UNAUTHORIZED, 0),
        ({"tool": "unknown"}, Status.INVALID, 0),
        ({"arguments": {"n": "x"}}, Status.INVALID, 0),
        ({}, Status.ERROR, 1),
    ],
)
async def test_span_of_a_call_ends_however_it_was_refused(asked: Any, status: Status, children: int) -> None:
    tracer, pipeline = traced()
    pipeline.backend.behaviour = raises(BackendUnavailable("away"))
    outcome = await pipeline.invoke(**asked)
    (span,) = tracer.spans
    assert (outcome.status, span.outcome, span.ends, len(span.children)) == (status, outcome, 1, children)
    assert all(child.ends == 1 for child in span.children)


async def test_span_of_a_cancelled_call_ends() -> None:
    tracer, pipeline = traced()
    reached = asyncio.Event()
    pipeline.backend.behaviour = waits(reached)
    call = asyncio.create_task(pipeline.invoke())
    await reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (span,) = tracer.spans
    assert span.outcome is not None
    assert (span.outcome.status, span.ends, span.children[0].ends) == (Status.CANCELLED, 1, 1)


class _BrokenSpan(InMemorySpan):
    def child(self, name: str) -> InMemorySpan:
        raise RuntimeError(name)

    def end(self, outcome: object = None) -> None:
        raise RuntimeError


@pytest.mark.parametrize("is_whole", [True, False])
async def test_tracer_that_fails_changes_no_call(is_whole: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(InMemoryTracer):
        def started(self, invocation: Invocation) -> InMemorySpan:
            if is_whole:
                raise RuntimeError
            return _BrokenSpan("call", invocation.trace)

    pipeline = Pipeline(tool(), observers=[Broken()])
    assert (await pipeline.invoke(trace=CALLER)).status is Status.SUCCESS
    assert "a tracer failed" in caplog.text
    ((_, context),) = pipeline.backend.received
    assert context.trace is not None
    assert context.trace.trace_id == CALLER.trace_id


def test_tracers_are_one_at_most() -> None:
    with pytest.raises(ValueError, match="at most one"):
        Pipeline(observers=[InMemoryTracer(), InMemoryInvocationObserver(), InMemoryTracer()])
