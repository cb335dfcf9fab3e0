"""Operations without manifests: they come and go with their source, and take nothing from anybody else."""

import asyncio

import pytest
from tests.application.catalogue.test_catalogue_loader import Bench, one, rest_tool

from stoa.application.catalogue.catalogue_loader import RETRY_SECONDS
from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.memory.operation_source import InMemoryOperationSource
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.finding import warning
from stoa.domain.operations.tool import Tool
from stoa.domain.origin import NamedOrigin
from stoa.infrastructure.worker_process import ProcessExecutor

PLUGINS = NamedOrigin("plugins")


class Plugins(InMemoryOperationSource):
    """`failure` is raised instead of an answer."""

    def __init__(self, name: str = "plugins") -> None:
        super().__init__(name)
        self.failure: Exception | None = None

    async def snapshot(self):
        if self.failure is not None:
            raise self.failure
        return await super().snapshot()


class Counting(InThreadExecutor):
    def __init__(self) -> None:
        self.checked: list[list[str]] = []

    async def run(self, function, *args, **kwargs):
        if function.__name__ == "affordable":
            self.checked.append([operation.name for operation in args[0]])
        return await super().run(function, *args, **kwargs)


class Sources(Bench):
    def __init__(self, *names: str, **parts) -> None:
        self.plugins = [Plugins(name) for name in names or ("plugins",)]
        self.first, self.defects = self.plugins[0], list[tuple[str, BaseException]]()
        super().__init__(
            operation_sources=self.plugins, report=lambda part, defect: self.defects.append((part, defect)), **parts
        )


async def test_operation_source_gives_operations_that_come_and_go():
    bench = Sources("plugins", "more")
    bench.first.replace([rest_tool("ant"), rest_tool("bee")], [warning("cat", "is left out")])
    bench.plugins[1].replace([rest_tool("dog")])
    assert await bench.run(a=[one("cow")]) == ["warning: cat: is left out"]
    assert bench.refresh.findings[0].origin == PLUGINS
    assert bench.names == ["ant", "bee", "cow", "dog"]
    bench.first.replace([rest_tool("bee")])
    assert await bench.run() == []
    assert bench.names == ["bee", "cow", "dog"]


async def test_operation_source_is_followed_while_the_loader_watches_and_a_change_before_is_not_missed():
    bench = Sources()
    await bench.run()
    bench.first.replace([rest_tool("ant")])
    told: asyncio.Queue[list[str]] = asyncio.Queue()
    bench.registry.subscribe(lambda diff: told.put_nowait(bench.names))
    watcher = asyncio.create_task(bench.refresh.watch())
    async with asyncio.timeout(20):
        assert await told.get() == ["ant"]
        bench.first.replace([rest_tool("bee")])
        assert await told.get() == ["bee"]
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)


async def test_operation_source_that_cannot_be_read_keeps_what_it_gave_and_is_tried_again_soon():
    bench = Sources("plugins", "more")
    bench.first.replace([rest_tool("ant")], [warning("cat", "is left out")])
    await bench.run()
    bench.first.failure = Unavailable("the registry is away")
    bench.plugins[1].replace([rest_tool("bee")])
    assert await bench.run() == [
        "error: plugins: the registry is away; trying again in 30 s",
        "warning: cat: is left out",
    ]
    assert {finding.origin for finding in bench.refresh.findings} == {PLUGINS}
    assert (bench.names, bench.refresh._seconds_until_due()) == (["ant", "bee"], RETRY_SECONDS)
    bench.first.failure = None
    bench.first.replace([rest_tool("cow")])
    assert await bench.run() == []
    assert (bench.names, bench.refresh._seconds_until_due()) == (["bee", "cow"], None)


async def test_operation_source_with_a_defect_is_reported_and_holds_up_no_other():
    bench = Sources("plugins", "more")
    bench.first.failure = LookupError("nobody foresaw it")
    bench.plugins[1].replace([rest_tool("bee")])
    (problem,) = await bench.run(a=[one("cow")])
    assert problem == ("error: plugins: an unexpected LookupError, which the log explains; trying again in 30 s")
    assert bench.names == ["bee", "cow"]
    assert [(part, type(defect)) for part, defect in bench.defects] == [("catalogue", LookupError)]


async def test_operation_source_takes_no_name_of_the_program_or_of_a_manifest():
    bench = Sources()
    bench.refresh.publisher.register([rest_tool("mine")])
    bench.first.replace([rest_tool(name).model_copy(update={"title": "theirs"}) for name in ("ant", "bee", "mine")])
    problems = await bench.run(z=[one("ant")])
    taken = "a tool of this name is registered already; rename one of them"
    assert problems == [f"error: global/{name}: {taken}" for name in ("ant", "mine")]
    assert {finding.origin for finding in bench.refresh.findings} == {PLUGINS}
    assert [tool.title for tool in bench.registry.catalogue.view(None)] == [None, "theirs", None]
    await bench.run(z=None)
    bench.refresh.publisher.unregister({rest_tool("mine").key})
    assert [tool.title for tool in bench.registry.catalogue.view(None)] == ["theirs", "theirs", "theirs"]


async def test_operation_source_has_its_schemas_compiled_under_limits_and_unchanged_ones_once():
    executor = Counting()
    bench = Sources(executor=executor)
    huge = Tool(
        name="huge", input_schema={"type": "object", "description": "x" * 600_000}, binding=rest_tool("x").binding
    )
    bench.first.replace([rest_tool("ant"), huge])
    (problem,) = await bench.run()
    assert problem.startswith("error: global/huge: inputSchema is larger than")
    assert (bench.names, bench.refresh.findings[0].origin) == (["ant"], PLUGINS)
    bench.first.replace([rest_tool("bee"), rest_tool("ant"), huge])
    assert await bench.run() == await bench.run() == [problem]
    assert (bench.names, executor.checked) == (["ant", "bee"], [["ant", "huge"], ["bee"]])


async def test_operation_source_has_its_schemas_compiled_in_the_worker_process():
    executor = ProcessExecutor()
    bench = Sources(executor=executor)
    bench.first.replace(
        [rest_tool("ant"), Tool(name="bad", input_schema={"type": "strng"}, binding=rest_tool("x").binding)]
    )
    (problem,) = await bench.run()
    await executor.close()
    assert problem.startswith("error: global/bad: inputSchema")
    assert bench.names == ["ant"]


async def test_operation_source_whose_schemas_take_all_that_is_allowed_is_not_tried_again_until_it_changes():
    class Refusing(Counting):
        async def run(self, function, *args, **kwargs):
            await super().run(function, *args, **kwargs)
            raise InvalidInput("takes more than 30 s of computing time")

    executor = Refusing()
    bench = Sources(executor=executor)
    bench.first.replace([rest_tool("ant")])
    problems = await bench.run()
    assert problems == await bench.run() == ["error: plugins: takes more than 30 s of computing time"]
    assert (len(executor.checked), bench.refresh._seconds_until_due()) == (1, None)
    bench.first.replace([rest_tool("bee")])
    await bench.run()
    assert executor.checked == [["ant"], ["bee"]]


async def test_operation_sources_have_names_of_their_own():
    with pytest.raises(InvalidInput, match="each needs a name of its own, found plugins twice"):
        Sources("plugins", "more", "plugins")


async def test_registered_operations_can_be_unregistered_and_those_that_stood_back_take_their_place():
    bench = Sources()
    bench.refresh.publisher.register([rest_tool("ant"), rest_tool("bee")])
    await bench.run(a=[one("ant", description="of the manifest")])
    gone = bench.refresh.publisher.unregister({rest_tool("ant").key, rest_tool("bee").key})
    assert [operation.name for operation in gone] == ["ant", "bee"]
    assert [tool.description for tool in bench.registry.catalogue.view(None)] == ["of the manifest"]
    assert await bench.run() == []
