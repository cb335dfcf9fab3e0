"""Spans of calls as an OpenTelemetry collector receives them."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import pytest
from tests.infrastructure.rest.loopback import answer, loopback

from stoa.application import Gateway
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Invocation
from stoa.domain.calls.trace_context import TraceContext
from stoa.infrastructure.observability.otlp import MAX_QUEUED, OtlpTracer
from stoa.testing.clock import ManualClock

ADMIN = Principal.of("ada-the-subject", roles=["cpi-admin"])
CALLER = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", is_sampled=True, state="a=1")


class Turns:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        del seconds
        await self._turns.acquire()

    def end(self) -> None:
        self._turns.release()


@asynccontextmanager
async def traced(url, turns=None, **options):
    tracer = OtlpTracer(url, ManualClock(), service_name="gate", version="1", sleep=(turns or Turns()).sleep, **options)
    gateway = Gateway(observers=[tracer])

    @gateway.tool
    def add(a: int, b: int) -> int:
        return a + b

    @gateway.tool
    def broken(text: str) -> int:
        raise RuntimeError(text)

    running = asyncio.create_task(tracer.run())
    await asyncio.sleep(0)
    try:
        yield gateway, tracer, running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await gateway.close()


async def called(gateway, name, arguments, trace=None):
    invocation = Invocation(credential=ADMIN, name=name, arguments=arguments, door="library", trace=trace)
    return await gateway.invoke_operation.execute(invocation)


def spans_of(server):
    sent = [json.loads(seen.body) for seen in server.seen]
    return [
        span
        for body in sent
        for part in body["resourceSpans"]
        for scope in part["scopeSpans"]
        for span in scope["spans"]
    ]


def attributes_of(span):
    return {entry["key"]: next(iter(entry["value"].values())) for entry in span["attributes"]}


async def test_otlp_call_is_a_span_in_the_callers_trace_and_its_back_end_a_child():
    async with loopback(lambda _: answer(b"{}")) as server:
        async with traced(server.url, headers={"X-Key": "k"}) as (gateway, _, _):
            await called(gateway, "add", {"a": 4711, "b": 2}, CALLER)
            await called(gateway, "broken", {"text": "geheim"})
            await called(gateway, "nothing-there", {})
        assert {seen.target for seen in server.seen} == {"/v1/traces"}
        assert server.seen[0].header("x-key") == "k"
        resource = json.loads(server.seen[0].body)["resourceSpans"][0]["resource"]
        assert {"key": "service.name", "value": {"stringValue": "gate"}} in resource["attributes"]
        child, add, _, broken, unknown = spans_of(server)
    assert (add["traceId"], add["parentSpanId"], add["traceState"]) == (CALLER.trace_id, CALLER.span_id, "a=1")
    assert (child["traceId"], child["parentSpanId"], child["name"]) == (CALLER.trace_id, add["spanId"], "call")
    assert (add["name"], add["kind"], add["status"]) == ("tool add", 2, {})
    assert int(add["endTimeUnixNano"]) >= int(add["startTimeUnixNano"]) > 10**18
    assert attributes_of(add)["stoa.status"] == "success"
    assert broken["status"] == {"code": 2}
    assert "parentSpanId" not in broken
    assert broken["traceId"] != add["traceId"]
    assert attributes_of(unknown)["error.type"] == "tool_not_found"
    everything = b"".join(seen.body for seen in server.seen)
    for private in (b"4711", b"geheim", b"ada-the-subject", b"nothing-there"):
        assert private not in everything


async def test_otlp_trace_that_its_caller_does_not_sample_is_not_sent():
    async with loopback(lambda _: answer(b"{}")) as server:
        async with traced(server.url) as (gateway, _, _):
            unsampled = TraceContext(CALLER.trace_id, CALLER.span_id)
            await called(gateway, "add", {"a": 1, "b": 2}, unsampled)
        assert server.seen == []


async def test_otlp_collector_that_is_away_costs_no_call_and_is_told_once(caplog):
    caplog.set_level(logging.WARNING)
    turns = Turns()
    async with traced("http://127.0.0.1:1", turns) as (gateway, tracer, _):
        for _ in range(3):
            assert (await called(gateway, "add", {"a": 1, "b": 2})).result.structured == 3
            turns.end()
            async with asyncio.timeout(10):
                while tracer._queue:
                    await asyncio.sleep(0)
    assert [record.message for record in caplog.records if "OTEL_EXPORTER" in record.message] == [
        "spans cannot be sent to OTEL_EXPORTER_OTLP_ENDPOINT: nothing listens at its address"
    ]


async def test_otlp_queue_is_bounded():
    tracer = OtlpTracer("http://127.0.0.1:1", ManualClock(), service_name="gate", version="1")
    for _ in range(MAX_QUEUED + 10):
        tracer.put({})
    assert len(tracer._queue) == MAX_QUEUED


@pytest.mark.parametrize("status", ["500 No", "404 Not Found"])
async def test_otlp_answer_that_is_an_error_loses_the_spans_and_nothing_else(status, caplog):
    async with loopback(lambda _: answer(b"{}", status=status)) as server:
        async with traced(server.url) as (gateway, _, _):
            await called(gateway, "add", {"a": 1, "b": 2})
        assert len(server.seen) == 1
    assert f"it answers {status[:3]}" in caplog.text
