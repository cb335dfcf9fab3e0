"""The laws of CatalogueObserver, for every adapter, and those of the loader that tells it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.pipeline import ScriptedBackend

from stoa.application.gateway import Gateway
from stoa.application.memory.tool_source import InMemoryToolSource
from stoa.application.ports import CatalogueLoad, CatalogueObserver
from stoa.domain.errors import Unavailable
from stoa.domain.origin import FileOrigin, NamedOrigin, ObjectOrigin
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.testing import InMemoryCatalogueObserver, ManualClock


@dataclass
class Station:
    observer: CatalogueObserver
    manifests: Callable[[], int]
    """How many manifests the last load had, as far as it knows."""
    shown: Callable[[], str]
    """All it gives to others than the embedding program."""


def _memory() -> Station:
    observer = InMemoryCatalogueObserver()
    return Station(observer, lambda: len(observer.loads[-1].manifests) if observer.loads else 0, lambda: "")


def _prometheus() -> Station:
    metrics = PrometheusObserver()

    def text() -> str:
        return metrics.exposition().decode()

    def manifests() -> int:
        samples = (line for line in text().splitlines() if line.startswith("stoa_catalogue_manifests{"))
        return int(sum(float(sample.rpartition(" ")[2]) for sample in samples))

    return Station(metrics.catalogue(), manifests, text)


ADAPTERS: dict[str, Callable[[], Station]] = {"memory": _memory, "prometheus": _prometheus}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def station_of(request: pytest.FixtureRequest) -> Callable[[], Station]:
    return ADAPTERS[request.param]


class Rest(ScriptedBackend):
    kind = "rest"


def manifest(name, **spec):
    spec = {"endpoint": "http://127.0.0.1:9/", **spec}
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Tool", "metadata": {"name": name}, "spec": spec}


origins = st.sampled_from(
    [
        FileOrigin("a", 1),
        FileOrigin("a", 2),
        FileOrigin("b", 1),
        ObjectOrigin("Tool", "tenant-acme", "c"),
        NamedOrigin("hunter2"),
    ]
)
states = st.sampled_from([manifest("ant"), manifest("bee"), manifest("bad", timeout="soon"), None])


@given(st.lists(st.dictionaries(origins, states, max_size=5), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_catalogue_observer_hears_each_load_with_a_report_for_every_manifest(station_of, history):
    asyncio.run(_observe(station_of(), history))


async def _observe(station, history):
    source, memory = InMemoryToolSource(), InMemoryCatalogueObserver()
    gateway = Gateway(sources=[source], backends=[Rest([])], catalogue_observers=[station.observer, memory])
    for number, manifests in enumerate(history, 1):
        for document in await source.read():
            source.remove(document.origin)
        for origin, content in manifests.items():
            source.put(origin, content, problem="" if content else "unreadable")
        findings = await gateway.loader.execute()
        load = memory.loads[-1]
        assert (len(memory.loads), load.findings) == (number, findings)
        reported = [report.document.origin for report in load.manifests]
        assert [origin for origin in reported if origin in manifests] == sorted(manifests, key=str)
        assert all(origin.whole in {one.whole for one in manifests} for origin in reported)
        assert station.manifests() == len(reported)
        _check(load, gateway)
    assert "hunter2" not in station.shown()


def _check(load: CatalogueLoad, gateway: Gateway) -> None:
    """Every operation in use is in the report of its own manifest, and a report that is not current says why."""
    used = [one.key for report in load.manifests for one in report.operations]
    assert len(used) == len(set(used))
    assert set(used) == {key for key in gateway.catalogue.operations if key.kind == "tool"}
    for report in load.manifests:
        origin = report.document.origin
        assert report.is_current or report.findings
        assert {finding.origin for finding in report.findings} <= {origin, origin.whole}


class _Broken(CatalogueObserver):
    async def loaded(self, load: CatalogueLoad) -> None:
        raise OSError("full")


async def test_catalogue_observer_that_fails_is_logged_and_neither_the_catalogue_nor_others_notice(station_of, caplog):
    station = station_of()
    gateway = Gateway(backends=[Rest([])], catalogue_observers=[_Broken(), station.observer])
    assert await gateway.add_manifest(manifest("ant")) == []
    assert station.manifests() == 1
    assert "an observer of the catalogue failed" in caplog.text


async def test_catalogue_observer_hears_of_no_load_that_could_not_read_its_sources(station_of):
    class Away(InMemoryToolSource):
        is_away = False

        async def read(self):
            if self.is_away:
                raise Unavailable("the cluster cannot be reached")
            return await super().read()

    source, station, clock = Away(), station_of(), ManualClock()
    gateway = Gateway(sources=[source], backends=[Rest([])], catalogue_observers=[station.observer], clock=clock)
    source.put("a", manifest("ant"))
    await gateway.loader.execute()
    source.is_away = True
    source.remove("a")
    (problem,) = await gateway.loader.execute()
    assert (station.manifests(), problem.origin) == (1, None)
