"""From manifests to the catalogue: what is good stays, what is gone goes, and problems are told once."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.pipeline import ScriptedBackend, tool
from tests.strategies import few_names

from stoa.application.backends.static_backend import StaticBackend
from stoa.application.catalogue.catalogue_loader import RETRY_SECONDS, CatalogueLoader
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.memory.tool_source import InMemoryToolSource
from stoa.application.ports import (
    Conversion,
    ConversionOptions,
    SpecConverter,
    SpecCredential,
    SpecDocument,
    SpecSource,
)
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.finding import Severity, warning
from stoa.domain.origin import FileOrigin
from stoa.testing.clock import ManualClock

API = "gostoa.dev/v1alpha1"


class Rest(ScriptedBackend):
    kind = "rest"


class Specs(SpecSource):
    """Documents whose text lists the names of their tools; `down` makes every fetch fail."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.fetched: list[str] = []
        self.shown: list[SpecCredential | None] = []
        """The credential of each fetch, in order."""
        self.down = False
        self.gate: asyncio.Event | None = None

    async def fetch(self, location: str, *, root: str = "", credential: SpecCredential | None = None) -> SpecDocument:
        self.fetched.append(location)
        self.shown.append(credential)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise Unavailable(f"{location} cannot be reached")
        if location not in self.texts:
            raise InvalidInput(f"{location}: nothing there")
        return SpecDocument(location, self.texts[location])


class Names(SpecConverter):
    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        if "<" in document.text:
            raise InvalidInput(f"{document.location}: no API description")
        made = tuple(rest_tool(name, options.tenant) for name in document.text.strip('"[]').split())
        findings = (warning(document.location, "odd"),) if "odd" in document.text else ()
        return Conversion(made, findings)


def rest_tool(name, tenant=None):
    return tool(
        name, tenant=tenant, binding={"kind": "rest", "method": "GET", "base_url": "http://127.0.0.1:9", "path": "/"}
    )


def one(name, **spec):
    spec = {"endpoint": "http://127.0.0.1:9/", **spec}
    return {"apiVersion": API, "kind": "Tool", "metadata": {"name": name}, "spec": spec}


def many(url=None, inline=None, interval="1h", name="set", **spec):
    where = {"url": url} if url else {"inline": inline}
    spec = {"openAPISpec": {**where, "refreshInterval": interval}, **spec}
    return {"apiVersion": API, "kind": "ToolSet", "metadata": {"name": name}, "spec": spec}


BAD = one("bad", timeout="soon")


class CountingRegistry(OperationRegistry):
    prepared = 0
    """How often a catalogue was put together."""

    def prepare(self, *args, **kwargs):
        self.prepared += 1
        return super().prepare(*args, **kwargs)


class Bench:
    def __init__(self, kinds=None, **parts) -> None:
        self.source, self.specs, self.clock = InMemoryToolSource(), Specs(), ManualClock()
        self.backend = Rest([])
        self.registry = CountingRegistry([self.backend, StaticBackend()])
        self.refresh = CatalogueLoader(
            sources=[self.source],
            specs=SpecKinds([DocumentSpecKind("openAPISpec", Names())] if kinds is None else kinds, self.specs),
            registry=self.registry,
            clock=self.clock,
            **parts,
        )

    @property
    def names(self) -> list[str]:
        return [one.identifier for one in self.registry.catalogue.view(None)]

    async def run(self, **files: Sequence[dict] | None) -> list[str]:
        """Put, or with None remove, whole files; returns the findings, in words."""
        for file, contents in files.items():
            for origin in [origin for origin in self.source._documents if origin.whole == FileOrigin(file)]:
                self.source.remove(origin)
            for number, content in enumerate(contents or (), 1):
                problem = "" if content else "line 3: not YAML"
                self.source.put(FileOrigin(file, number), content, problem=problem)
        return [str(finding) for finding in await self.refresh.execute()]


async def test_a_file_with_a_bad_part_keeps_its_last_good_version_as_a_whole():
    bench = Bench()
    assert await bench.run(a=[one("ant"), one("bee")], b=[one("cat")]) == []
    problems = await bench.run(a=[one("ant", timeout="5s"), BAD, one("dog")], b=[one("cow")])
    assert bench.names == ["ant", "bee", "cow"]
    assert bench.registry.find(None, "ant").operation.timeout_seconds == 30
    assert problems == [
        "error: a#2: spec.timeout: write a duration with its unit, such as 500ms, 30s or 5m",
        "warning: a: the last good version stays in use",
    ]
    assert await bench.run(a=[one("dog")]) == []
    assert bench.names == ["cow", "dog"]


async def test_a_refresh_puts_the_catalogue_together_only_if_something_changed():
    bench = Bench()
    await bench.run(a=[one("ant")])
    assert bench.registry.prepared == 1
    assert len(await bench.run(b=[BAD])) == 1
    assert len(await bench.run(b=[None])) == 1
    assert bench.registry.prepared == 1
    await bench.run(b=[one("bee")])
    await bench.run(a=[one("ant", timeout="5s")])
    await bench.run(b=None)
    assert bench.registry.prepared == 4
    assert bench.names == ["ant"]
    assert bench.registry.find(None, "ant").operation.timeout_seconds == 5


async def test_a_refresh_puts_the_catalogue_together_again_after_the_program_registered_something():
    bench = Bench()
    await bench.run(a=[one("ant")])
    bench.refresh.publisher.register([rest_tool("dog")])
    before = bench.registry.prepared
    await bench.run()
    assert bench.registry.prepared == before + 1
    assert bench.names == ["ant", "dog"]


async def test_a_file_that_cannot_be_read_keeps_its_last_good_version():
    bench = Bench()
    await bench.run(a=[one("ant")])
    problems = await bench.run(a=[None])
    assert bench.names == ["ant"]
    assert problems[0] == "error: a#1: line 3: not YAML"


@pytest.mark.parametrize("schema", [{"type": "object", "properties": {"a": {"type": "strng"}}}, {"type": "array"}])
async def test_a_bad_schema_keeps_the_last_good_version_too(schema):
    bench = Bench()
    await bench.run(a=[one("ant")])
    assert await bench.run(a=[one("ant", inputSchema=schema)])
    assert bench.names == ["ant"]


async def test_a_file_that_is_gone_takes_its_tools_along():
    bench = Bench()
    await bench.run(a=[one("ant")], b=[one("bee")])
    assert await bench.run(a=None) == []
    assert bench.names == ["bee"]
    assert bench.refresh.health().is_ready


async def test_at_the_start_a_bad_file_gives_its_good_parts_and_reports_the_others():
    bench = Bench()
    problems = await bench.run(a=[one("ant"), BAD], b=[None, one("bee")])
    assert bench.names == ["ant", "bee"]
    assert [problem.split(": ")[1] for problem in problems] == ["a#2", "b#1"]


async def test_a_tool_set_gives_the_tools_of_its_description():
    bench = Bench()
    bench.specs.texts = {"https://x.example/s": "ant odd"}
    inline = many(inline="bee", name="other")
    problems = await bench.run(a=[many("https://x.example/s"), inline], b=[many(inline="cat", enabled=False)])
    assert bench.names == ["ant", "bee", "odd"]
    assert problems == ["warning: https://x.example/s: odd"]


async def test_a_tool_set_that_nothing_fits_says_so():
    problems = await Bench().run(a=[many(inline="")])
    (problem,) = problems
    assert problem.startswith("warning: a#1: spec.selector: no operation of the API description fits")
    assert problem.endswith("check methods, tags and pathPrefix")


async def test_a_relative_description_is_looked_for_beside_its_manifest():
    bench = Bench()
    await bench.run(a=[many("specs/pets.json")])
    assert bench.specs.fetched == ["specs/pets.json"]


@pytest.mark.parametrize("text", [None, "<html>"])
async def test_a_description_that_is_none_keeps_the_last_good_one(text):
    bench = Bench()
    bench.specs.texts = {"specs": "ant"}
    await bench.run(a=[many("specs")])
    bench.specs.texts = {} if text is None else {"specs": text}
    problems = await bench.run()
    assert bench.names == ["ant"]
    assert problems[0].startswith("error: a#1: spec.openAPISpec: specs: n")


async def test_without_a_converter_a_tool_set_is_an_error_and_other_files_load():
    bench = Bench(kinds=[])
    problems = await bench.run(a=[many(inline="ant")], b=[one("bee")])
    assert bench.names == ["bee"]
    assert "converter" in problems[0]


URL = "https://x.example/s"


async def test_a_remote_description_is_fetched_again_when_its_interval_is_over():
    bench = Bench()
    bench.specs.texts = {URL: "ant"}
    await bench.run(a=[many(URL, interval="1h")])
    assert bench.refresh._seconds_until_due() == 3600
    bench.specs.texts = {URL: "bee"}
    bench.clock.advance(3599.999)
    await bench.run()
    assert (bench.names, len(bench.specs.fetched)) == (["ant"], 1)
    bench.clock.advance(0.001)
    await bench.run()
    assert (bench.names, len(bench.specs.fetched)) == (["bee"], 2)
    assert bench.refresh._seconds_until_due() == 3600


async def test_a_changed_manifest_is_fetched_at_once():
    bench = Bench()
    bench.specs.texts = {URL: "ant"}
    await bench.run(a=[many(URL)])
    await bench.run(a=[many(URL, interval="2h")])
    assert len(bench.specs.fetched) == 2


async def test_a_description_that_cannot_be_reached_is_tried_again_with_pauses_and_keeps_what_it_gave():
    bench = Bench()
    bench.specs.texts = {URL: "ant"}
    await bench.run(a=[many(URL, interval="1h")])
    bench.specs.down = True
    bench.clock.advance(3600)
    for attempt in range(2, 5):
        problems = await bench.run()
        assert problems == [f"error: a#1: spec.openAPISpec: {URL} cannot be reached; trying again in 30 s"]
        assert (bench.names, len(bench.specs.fetched)) == (["ant"], attempt)
        assert bench.refresh._seconds_until_due() == RETRY_SECONDS
        assert await bench.run() == problems
        assert len(bench.specs.fetched) == attempt
        bench.clock.advance(RETRY_SECONDS)
    bench.specs.down, bench.specs.texts = False, {URL: "bee"}
    assert await bench.run() == []
    assert bench.names == ["bee"]
    assert bench.refresh._seconds_until_due() == 3600


async def test_a_description_that_was_never_reached_is_tried_again_and_holds_up_no_other():
    bench = Bench()
    bench.specs.down = True
    assert len(await bench.run(a=[many(URL), one("bee")])) == 1
    assert bench.names == ["bee"]
    assert bench.refresh._seconds_until_due() == RETRY_SECONDS
    await bench.run(a=[many(URL), one("cat")])
    assert bench.names == ["cat"]
    bench.specs.down, bench.specs.texts = False, {URL: "ant"}
    assert await bench.run() == []
    assert bench.names == ["ant", "cat"]


async def test_a_bad_file_with_a_description_that_is_due_is_not_refreshed_without_pause():
    bench = Bench()
    bench.specs.texts = {URL: "ant"}
    await bench.run(a=[many(URL, interval="1m")])
    bench.clock.advance(60)
    await bench.run(a=[many(URL, interval="1m"), BAD])
    assert bench.names == ["ant"]
    assert bench.refresh._seconds_until_due() == RETRY_SECONDS


async def test_nothing_is_due_without_remote_descriptions():
    bench = Bench()
    await bench.run(a=[one("ant"), many(inline="bee")])
    assert bench.refresh._seconds_until_due() is None


async def test_a_finding_is_logged_when_it_comes_and_not_while_it_stays(caplog):
    bench = Bench()
    for _ in range(3):
        await bench.run(a=[BAD])
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    await bench.run(a=[one("ant")])
    await bench.run(a=[BAD])
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR, logging.WARNING]


async def test_health_tells_what_is_loaded_and_what_is_wrong():
    bench = Bench()
    assert not bench.refresh.health().is_ready
    problems = await bench.run(a=[one("ant"), BAD])
    health = bench.refresh.health()
    assert health.is_ready
    assert health.findings == tuple(problems)
    assert "1 tools" in health.detail


async def test_two_refreshes_at_once_leave_what_is_newest():
    bench = Bench()
    bench.specs.texts, bench.specs.gate = {URL: "old"}, asyncio.Event()
    bench.source.put("a#1", many(URL))
    first = asyncio.create_task(bench.refresh.execute())
    while not bench.specs.fetched:
        await asyncio.sleep(0)
    bench.source.put("a#1", one("new"))
    second = asyncio.create_task(bench.refresh.execute())
    for _ in range(5):
        await asyncio.sleep(0)
    bench.specs.gate.set()
    await asyncio.gather(first, second)
    assert bench.names == ["new"]


async def test_a_change_is_noticed_while_watching():
    bench = Bench()
    await bench.run(a=[one("ant")])
    watcher = asyncio.create_task(bench.refresh.watch())
    arrived = asyncio.Event()
    bench.registry.subscribe(lambda diff: arrived.set())
    async with asyncio.timeout(20):
        for _ in range(5):
            await asyncio.sleep(0)
        bench.source.put("b#1", one("bee"))
        await arrived.wait()
    assert bench.names == ["ant", "bee"]
    watcher.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watcher
    for _ in range(5):
        await asyncio.sleep(0)
    assert bench.source._notices._watchers == []


async def test_registered_tools_stay_through_every_refresh():
    bench = Bench()
    assert bench.refresh.publisher.register([rest_tool("mine")]) == []
    await bench.run(a=[one("ant"), one("mine")])
    assert bench.names == ["ant", "mine"]
    assert [str(finding) for finding in bench.refresh.findings] == [
        "error: global/mine: a tool of this name is registered already; rename one of them"
    ]
    await bench.run(a=None)
    assert bench.names == ["mine"]
    assert bench.refresh.findings == ()


contents = st.lists(few_names.map(one) | st.just(BAD) | st.none(), max_size=3)
steps = st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | contents, min_size=1), max_size=5)


@settings(max_examples=60, deadline=None)
@given(steps)
async def test_any_history_of_files_leaves_the_last_good_version_of_each(history):
    bench = Bench()
    expected: dict[str, list[str]] = {}
    for step in history:
        await bench.run(**step)
        for file, found in step.items():
            good = [content["metadata"]["name"] for content in found or () if content not in (BAD, None)]
            is_whole = len(good) == len(found or ())
            if not found:
                expected.pop(file, None)
            elif is_whole or not expected.get(file):
                expected[file] = good
        assert bench.names == sorted({name for names in expected.values() for name in names})
        severe = [finding for finding in bench.refresh.findings if finding.severity is Severity.ERROR]
        assert all(finding.message for finding in severe)


class Runs(InThreadExecutor):
    """Counts its runs; refuses those that are given more than `most` manifests at once."""

    def __init__(self, most: int = 1000) -> None:
        self.runs = 0
        self._most = most

    async def run(self, function, *args, **kwargs):
        self.runs += 1
        if isinstance(args[0], list) and len(args[0]) > self._most:
            raise InvalidInput("takes too long")
        return await super().run(function, *args, **kwargs)


async def test_a_catalogue_file_of_many_manifests_is_understood_in_few_runs():
    executor = Runs()
    bench = Bench(executor=executor)
    names = [f"t{number:03}" for number in range(40)]
    assert await bench.run(a=[one(name) for name in names]) == []
    assert bench.names == names
    assert executor.runs == 1
    assert await bench.run(a=[one(name) for name in names]) == []
    assert executor.runs == 1


async def test_a_catalogue_file_of_many_manifests_says_which_are_bad_and_looks_at_them_once():
    executor = Runs()
    bench = Bench(executor=executor)
    manifests = [one(f"t{number:02}") for number in range(20)]
    (problem,) = await bench.run(a=[*manifests, BAD])
    assert problem.startswith("error: a#21: spec.timeout")
    assert len(bench.names) == 20
    runs = executor.runs
    assert problem in await bench.run(a=[*manifests, BAD])
    assert executor.runs == runs


async def test_a_catalogue_file_whose_manifests_take_too_long_together_is_understood_one_by_one():
    bench = Bench(executor=Runs(most=1))
    assert await bench.run(a=[one(f"t{number:02}") for number in range(20)]) == []
    assert len(bench.names) == 20
