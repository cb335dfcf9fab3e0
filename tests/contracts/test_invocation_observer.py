"""The laws of InvocationObserver, for every adapter: told of any call whatever it was, quick, and without secrets."""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.application.pipeline import Pipeline, tool
from tests.strategies import invocations

from stoa.application import Context, Gateway, Principal
from stoa.application.ports import InvocationObserver
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.client_requests.client_request import ClientCapabilities, SamplingAnswer
from stoa.domain.client_requests.rules import ClientRequestRules, ClientRequests
from stoa.domain.errors import ClientRequestRefused
from stoa.domain.results.result import TextContent
from stoa.infrastructure.observability.audit_log import AuditLog
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.testing.client_channel import InMemoryClientChannel
from stoa.testing.invocation_observer import InMemoryInvocationObserver


@dataclass
class Station:
    observer: InvocationObserver
    count: Callable[[], int]
    """How many calls it knows of."""
    shown: Callable[[], str]
    """All it gives to others than the embedding program."""


def _memory() -> Station:
    observer = InMemoryInvocationObserver()
    return Station(observer, lambda: len(observer.seen) + observer.counted.total(), lambda: "")


def _audit() -> Station:
    stream = io.BytesIO()
    log = AuditLog(stream)

    def lines() -> str:
        log.flush()
        return stream.getvalue().decode()

    def count() -> int:
        return sum(json.loads(line).get("calls", 1) for line in lines().splitlines())

    return Station(log, count, lines)


def _prometheus() -> Station:
    observer = PrometheusObserver()

    def text() -> str:
        return observer.exposition().decode()

    def count() -> int:
        samples = (line for line in text().splitlines() if line.startswith("stoa_invocations_total{"))
        return int(sum(float(sample.rpartition(" ")[2]) for sample in samples))

    return Station(observer, count, text)


ADAPTERS: dict[str, Callable[[], Station]] = {"memory": _memory, "audit": _audit, "prometheus": _prometheus}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def station_of(request: pytest.FixtureRequest) -> Callable[[], Station]:
    return ADAPTERS[request.param]


@given(st.lists(invocations(), max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_every_finished_call_is_told_once_whatever_it_was(station_of, asked):
    station = station_of()
    pipeline = Pipeline(*(tool(name) for name in ("ant", "bee")), observers=[station.observer])
    for invocation in asked:
        await pipeline.invoke_operation.execute(invocation)
    await pipeline.recorder.close()
    assert station.count() == len(asked)


async def test_questions_to_clients_are_told_with_their_kind_and_are_no_calls(station_of):
    station = station_of()
    rules = ClientRequests(default=ClientRequestRules(roots=False))
    gateway = Gateway(observers=[station.observer], client_requests=rules)

    @gateway.tool
    async def ask(context: Context) -> str:
        with suppress(ClientRequestRefused):
            await context.list_roots()
        return (await context.sample("hunter2", max_tokens=3)).text

    channel = InMemoryClientChannel(
        ClientCapabilities(sampling=True, roots=True),
        lambda key, request: SamplingAnswer((TextContent("hunter2"),), "m"),
    )
    ann = Principal.of("ann", roles=["viewer"])
    assert (await gateway.invoke("ask", {}, ann, channel=channel)).error is None
    is_prometheus = isinstance(station.observer, PrometheusObserver)
    assert station.count() == (1 if is_prometheus else 3)
    shown = station.shown()
    assert "hunter2" not in shown
    if is_prometheus:
        assert 'stoa_questions_total{kind="sampling",status="success"} 1.0' in shown
        assert 'stoa_questions_total{kind="roots",status="unauthorized"} 1.0' in shown
    elif isinstance(station.observer, AuditLog):
        lines = [json.loads(line) for line in shown.splitlines()]
        assert [(line["audit"], line["tool"], line["allowed"]) for line in lines] == [
            ("question", "roots:ask", False),
            ("question", "sampling:ask", True),
            ("invocation", "ask", True),
        ]


async def test_neither_token_nor_arguments_are_shown(station_of):
    station = station_of()
    pipeline = Pipeline(tool(input_schema={"type": "object"}), observers=[station.observer])
    for token in ("good", "hunter2"):
        await pipeline.invoke(arguments={"password": "hunter2"}, credential=BearerToken(token))
    await pipeline.recorder.close()
    assert station.count() == 2
    assert "hunter2" not in station.shown()
