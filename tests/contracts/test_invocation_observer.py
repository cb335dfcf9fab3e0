"""The laws of InvocationObserver, for every adapter: told of any call whatever it was, quick, and without secrets."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.application.pipeline import Pipeline, tool
from tests.strategies import invocations

from stoa.application.memory.invocation_observer import InMemoryInvocationObserver
from stoa.application.ports import InvocationObserver
from stoa.domain.invocation import BearerToken
from stoa.infrastructure.observability.audit_log import AuditLog
from stoa.infrastructure.observability.prometheus import PrometheusObserver


@dataclass
class Station:
    observer: InvocationObserver
    count: Callable[[], int]
    """How many calls it knows of."""
    shown: Callable[[], str]
    """All it gives to others than the embedding program."""


def _memory() -> Station:
    observer = InMemoryInvocationObserver()
    return Station(observer, lambda: len(observer.seen), lambda: "")


def _audit() -> Station:
    stream = io.BytesIO()
    log = AuditLog(stream)

    def lines() -> str:
        log.flush()
        return stream.getvalue().decode()

    return Station(log, lambda: lines().count("\n"), lines)


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
        await pipeline.invoke_tool.execute(invocation)
    assert station.count() == len(asked)


async def test_neither_token_nor_arguments_are_shown(station_of):
    station = station_of()
    pipeline = Pipeline(tool(input_schema={"type": "object"}), observers=[station.observer])
    for token in ("good", "hunter2"):
        await pipeline.invoke(arguments={"password": "hunter2"}, credential=BearerToken(token))
    assert station.count() == 2
    assert "hunter2" not in station.shown()
