"""Tool sets whose live server says that its description changed: it is fetched at once, not when it is due."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.application.catalogue.test_catalogue_loader import Bench, Names, many, one

from stoa.application.catalogue.catalogue_loader import RETRY_SECONDS
from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.ports import ChangingSpecKind, Conversion
from stoa.domain.operations.binding import StaticBinding, StaticResource
from stoa.domain.operations.prompt import Prompt, PromptArgument
from stoa.domain.operations.resource import Resource
from stoa.domain.origin import FileOrigin, Origin

ONE, OTHER = "live://one.example", "live://other.example"


class LiveNames(Names):
    """A prompt and a resource besides the tools of the text."""

    def convert(self, document, options):
        made = super().convert(document, options)
        static = StaticBinding(contents=(StaticResource(uri="memo://all", mime_type="text/plain", text=document.text),))
        prompt = Prompt(name="greet", arguments=(PromptArgument(name="who"),), binding=StaticBinding(messages=()))
        return Conversion(made.tools, made.findings, contents=(Resource(uri="memo://all", binding=static), prompt))


class LiveKind(DocumentSpecKind, ChangingSpecKind):
    def __init__(self) -> None:
        super().__init__("openAPISpec", LiveNames())
        self._changed: asyncio.Queue[Origin] = asyncio.Queue()
        self._places: dict[str, Origin] = {}

    async def fetch(self, source, place):
        self._places[source.url] = place.origin
        return await super().fetch(source, place)

    def say_changed(self, url: str) -> None:
        """As a live server says it of the description at `url`."""
        self._changed.put_nowait(self._places[url])

    async def changed_places(self):
        while True:
            yield await self._changed.get()


@asynccontextmanager
async def watched(bench: Bench) -> AsyncIterator[Callable[[list[str]], Awaitable[None]]]:
    """Yields what waits until the tools have these names."""
    told = asyncio.Event()
    bench.registry.subscribe(lambda diff: told.set())
    watcher = asyncio.create_task(bench.refresh.watch())

    async def until(names: list[str]) -> None:
        async with asyncio.timeout(20):
            while bench.names != names:
                told.clear()
                await told.wait()

    yield until
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)


async def test_description_that_changed_is_fetched_at_once_and_no_other():
    kind = LiveKind()
    bench = Bench([kind])
    bench.specs.texts = {ONE: "ant", OTHER: "bee"}
    await bench.run(a=[many(ONE, name="one"), many(OTHER, name="other")])
    async with watched(bench) as until:
        bench.specs.texts = {ONE: "cow", OTHER: "dog"}
        kind.say_changed(ONE)
        await until(["bee", "cow"])
        assert bench.specs.fetched == [ONE, OTHER, ONE]
        bench.specs.texts[ONE] = "eel"
        kind.say_changed(ONE)
        await until(["bee", "eel"])
    assert bench.refresh._seconds_until_due() == 3600


async def test_description_that_changes_while_it_is_fetched_is_fetched_once_more():
    kind = LiveKind()
    bench = Bench([kind])
    bench.specs.texts = {ONE: "ant"}
    await bench.run(a=[many(ONE)])
    async with watched(bench) as until:
        bench.specs.gate = asyncio.Event()
        kind.say_changed(ONE)
        while len(bench.specs.fetched) < 2:
            await asyncio.sleep(0)
        kind.say_changed(ONE)
        for _ in range(5):
            await asyncio.sleep(0)
        bench.specs.gate.set()
        while len(bench.specs.fetched) < 3:
            await asyncio.sleep(0)
        bench.specs.texts = {ONE: "bee"}
        kind.say_changed(ONE)
        await until(["bee"])


async def test_change_that_was_said_before_the_loader_watched_is_not_missed():
    kind = LiveKind()
    bench = Bench([kind])
    bench.specs.texts = {ONE: "ant"}
    await bench.run(a=[many(ONE)])
    bench.specs.texts = {ONE: "bee"}
    kind.say_changed(ONE)
    async with watched(bench) as until:
        await until(["bee"])


async def test_changed_description_that_cannot_be_fetched_keeps_the_last_good_one_and_is_tried_again_soon():
    kind = LiveKind()
    bench = Bench([kind])
    bench.specs.texts = {ONE: "ant"}
    await bench.run(a=[many(ONE)])
    async with watched(bench) as until:
        bench.specs.down = True
        kind.say_changed(ONE)
        while not bench.refresh.findings:
            await asyncio.sleep(0)
        assert [str(finding) for finding in bench.refresh.findings] == [
            f"error: a#1: spec.openAPISpec: {ONE} cannot be reached; trying again in 30 s"
        ]
        assert (bench.names, bench.refresh._seconds_until_due()) == (["ant"], RETRY_SECONDS)
        bench.specs.down, bench.specs.texts = False, {ONE: "bee"}
        kind.say_changed(ONE)
        await until(["bee"])


async def test_change_of_a_description_whose_manifest_is_gone_is_forgotten():
    kind = LiveKind()
    bench = Bench([kind])
    bench.specs.texts = {ONE: "ant"}
    await bench.run(a=[many(ONE)])
    await bench.run(a=[one("bee")])
    async with watched(bench) as until:
        kind.say_changed(ONE)
        bench.source.put(FileOrigin("b", 1), one("cow"))
        await until(["bee", "cow"])
    assert bench.specs.fetched == [ONE]


async def test_description_gives_resources_and_prompts_beside_its_tools():
    bench = Bench([LiveKind()])
    bench.specs.texts = {ONE: ""}
    assert await bench.run(a=[many(ONE)]) == []
    keys = [str(key) for key in bench.registry.catalogue.operations]
    assert keys == ["global/resource:memo://all", "global/prompt:greet", "global/resource:stoa://apis/set"]
