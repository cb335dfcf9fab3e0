"""Following the objects of a path: lists, watches, and what lies between them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.kubernetes import ApiServer, cluster_at, serving

from stoa.infrastructure.kubernetes.api.objects import manifest_content
from stoa.infrastructure.kubernetes.api.reflector import LONGEST_PAUSE_SECONDS, PAGE_SIZE, Reflector, Watched
from stoa.infrastructure.worker_process import ProcessExecutor

TOOLS = Watched("/apis/gostoa.dev/v1alpha1/tools", manifest_content)
DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000


def tool(name: str, **spec: object) -> dict[str, object]:
    return {"kind": "Tool", "metadata": {"name": name, "namespace": "acme"}, "spec": spec}


@dataclass
class Watching:
    server: ApiServer
    reflector: Reflector
    pauses: list[float] = field(default_factory=list[float])
    notices: list[None] = field(default_factory=list[None])

    @property
    def names(self) -> list[str]:
        return sorted(name for _, name in self.reflector.objects)

    async def until(self, is_reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not is_reached():
                await asyncio.sleep(0)


@asynccontextmanager
async def watching(
    folder: Path, server: ApiServer, watched: Watched = TOOLS, **options: object
) -> AsyncIterator[Watching]:
    """A reflector that runs, and pauses for no longer than the loop needs."""
    pauses: list[float] = []
    notices: list[None] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    async with serving(server) as url, cluster_at(folder, url, sleep=sleep, **options) as cluster:
        reflector = cluster.reflector(watched, lambda: notices.append(None))
        task = asyncio.create_task(reflector.run())
        try:
            yield Watching(server, reflector, pauses, notices)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(params=[True, False], ids=["streaming lists", "lists"])
def server(request: pytest.FixtureRequest) -> ApiServer:
    return ApiServer(streams_lists=request.param)


async def test_reflector_hears_of_objects_that_come_change_and_go(tmp_path, server):
    server.put("tools", tool("ant"))
    async with watching(tmp_path, server) as here:
        await here.until(lambda: here.names == ["ant"])
        server.put("tools", tool("bee"))
        await here.until(lambda: here.names == ["ant", "bee"])
        server.put("tools", tool("bee", timeout="5s"))
        await here.until(lambda: here.reflector.objects["acme", "bee"].generation == 2)
        server.delete("tools", "ant", namespace="acme")
        await here.until(lambda: here.names == ["bee"])
        assert [method for method, _ in server.requests].count("WATCH") == 1


async def test_reflector_goes_on_from_the_last_version_when_a_watch_breaks(tmp_path, server):
    server.put("tools", tool("ant"))
    async with watching(tmp_path, server) as here:
        await here.until(lambda: here.names == ["ant"])
        lists = [method for method, _ in server.requests].count("GET")
        server.delete("tools", "ant", namespace="acme")
        server.put("tools", tool("bee"))
        server.break_watches()
        await here.until(lambda: here.names == ["bee"])
        assert [method for method, _ in server.requests].count("GET") == lists


async def test_reflector_lists_again_when_its_version_expired_and_a_delete_in_the_gap_is_not_missed(tmp_path, server):
    server.put("tools", tool("ant"))
    server.put("tools", tool("bee"))
    async with watching(tmp_path, server) as here:
        await here.until(lambda: here.names == ["ant", "bee"])
        server.refusals["tools"] = 503, "ServiceUnavailable"
        server.break_watches()
        await here.until(lambda: bool(here.reflector.problem))
        server.delete("tools", "ant", namespace="acme")
        server.put("tools", tool("cat"))
        server.compact()
        assert here.names == ["ant", "bee"], "while the server is away all stays as it was"
        del server.refusals["tools"]
        await here.until(lambda: here.names == ["bee", "cat"])
        assert not here.reflector.problem


async def test_reflector_pauses_longer_each_time_and_never_long(tmp_path, server):
    server.refusals["tools"] = 500, "InternalError"
    async with watching(tmp_path, server) as here:
        await here.until(lambda: len(here.pauses) > 12)
        assert here.pauses[0] <= 0.5
        assert here.pauses[3] > here.pauses[0]
        assert max(here.pauses) <= LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (404, "NotFound")])
async def test_reflector_without_the_right_or_the_kind_says_so_and_asks_seldom(tmp_path, server, status, reason):
    server.refusals["tools"] = status, reason
    async with watching(tmp_path, server) as here:
        await asyncio.wait_for(here.reflector.is_synchronised.wait(), 20)
        assert reason in here.reflector.problem
        assert here.pauses[-1] >= 30
        assert max(here.pauses[:-1]) <= LONGEST_PAUSE_SECONDS, "at first it may be a server that has just started"
        server.put("tools", tool("ant"))
        del server.refusals["tools"]
        await here.until(lambda: here.names == ["ant"])
        assert not here.reflector.problem


async def test_reflector_says_nothing_of_a_change_that_is_no_manifests(tmp_path, server):
    server.put("tools", tool("ant"))
    async with watching(tmp_path, server) as here:
        await here.until(lambda: here.names == ["ant"])
        told = len(here.notices)
        with_status = {**tool("ant"), "status": {"phase": "Registered"}}
        server.put("tools", {**with_status, "metadata": {**tool("ant")["metadata"], "managedFields": [1]}})  # type: ignore[dict-item]
        await here.until(lambda: here.reflector.objects["acme", "ant"].version == "2")
        assert len(here.notices) == told
        assert here.reflector.objects["acme", "ant"].status == {"phase": "Registered"}


async def test_reflector_reads_all_pages_of_a_list(tmp_path):
    server = ApiServer(streams_lists=False)
    for number in range(2 * PAGE_SIZE + 1):
        server.put("tools", tool(f"t{number:04}"))
    async with watching(tmp_path, server) as here:
        await here.until(lambda: len(here.names) == 2 * PAGE_SIZE + 1)
        assert [method for method, _ in server.requests].count("GET") == 3


async def test_reflector_reads_the_others_beside_an_object_that_no_parser_reads(tmp_path, server):
    for name in ("ant", "bee", "cat"):
        server.put("tools", tool(name))
    stored = server.get("tools", "bee", namespace="acme")["metadata"]
    metadata = (
        f'{{"name":"bee","namespace":"acme","uid":"{stored["uid"]}","resourceVersion":"2","generation":7}}'.encode()
    )
    server.garbage["bee"] = b'{"metadata":' + metadata + b',"spec":{"inputSchema":' + DEEP + b"}}"
    async with watching(tmp_path, server) as here:
        await here.until(lambda: here.names == ["ant", "bee", "cat"])
        bee = here.reflector.objects["acme", "bee"]
        assert bee.content is None
        assert "nested too deeply" in bee.problem
        assert (bee.uid, bee.generation) == (stored["uid"], 7)
        server.put("tools", tool("dog"))
        await here.until(lambda: here.names == ["ant", "bee", "cat", "dog"])
        server.garbage.clear()
        server.put("tools", tool("bee", timeout="5s"))
        await here.until(lambda: here.reflector.objects["acme", "bee"].content is not None)


async def test_reflector_lists_where_streaming_lists_are_switched_off(tmp_path):
    server = ApiServer()
    server.put("tools", tool("ant"))
    server.refuses_initial_events = True
    async with watching(tmp_path, server) as here:
        await here.until(lambda: here.names == ["ant"])
        server.put("tools", tool("bee"))
        await here.until(lambda: here.names == ["ant", "bee"])


async def test_reflector_asks_for_the_objects_of_its_selectors_alone(tmp_path, server):
    server.put("tools", tool("ant"))
    server.put("tools", tool("bee"))
    watched = Watched(TOOLS.path, manifest_content, {"fieldSelector": "metadata.name=bee"})
    async with watching(tmp_path, server, watched) as here:
        await here.until(lambda: here.names == ["bee"])
        server.put("tools", tool("cat"))
        server.delete("tools", "bee", namespace="acme")
        await here.until(lambda: here.names == [])


async def test_reflector_reads_large_objects_in_the_worker_process(tmp_path, server):
    executor = ProcessExecutor()
    large = {"type": "object", "description": "x" * 200_000, "properties": {}}
    server.put("tools", tool("ant", inputSchema=large))
    try:
        async with watching(tmp_path, server, executor=executor) as here:
            await here.until(lambda: here.names == ["ant"])
            server.put("tools", tool("bee", inputSchema=large))
            await here.until(lambda: here.names == ["ant", "bee"])
            for name in ("ant", "bee"):
                content = here.reflector.objects["acme", name].content
                assert content is not None
                assert content["spec"] == {"inputSchema": large}
    finally:
        await executor.close()
