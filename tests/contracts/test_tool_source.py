"""The laws of ToolSource, for every adapter.

To add a source, write a context manager that opens an empty Place, and put it into ADAPTERS.
"""

import asyncio
import json
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kubernetes import ApiServer, cluster_at, serving
from tests.strategies import manifests

from stoa.application.memory.tool_source import InMemoryToolSource
from stoa.application.ports import ToolSource
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.origin import ObjectOrigin
from stoa.infrastructure.files.manifests import FileToolSource
from stoa.infrastructure.kubernetes.api import Cluster
from stoa.infrastructure.kubernetes.manifests import KubernetesToolSource
from stoa.infrastructure.kubernetes.watch_scope import WatchScope

PATIENCE_SECONDS = 30


class Place(Protocol):
    """Where the manifests of one source live, under plain names."""

    source: ToolSource

    @abstractmethod
    def put(self, name: str, content: dict[str, Any]) -> None: ...

    @abstractmethod
    def spoil(self, name: str) -> None:
        """Put something that cannot be understood."""
        ...

    @abstractmethod
    def remove(self, name: str) -> None: ...


class MemoryPlace(Place):
    def __init__(self) -> None:
        self.source: InMemoryToolSource = InMemoryToolSource()

    def put(self, name: str, content: dict[str, Any]) -> None:
        self.source.put(name, content)

    def spoil(self, name: str) -> None:
        self.source.put(name, None, problem="unreadable")

    def remove(self, name: str) -> None:
        self.source.remove(name)


class FolderPlace(Place):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.source: FileToolSource = FileToolSource([folder])

    def put(self, name: str, content: dict[str, Any]) -> None:
        self._replace(name, yaml.safe_dump(content))

    def spoil(self, name: str) -> None:
        self._replace(name, "a: [")

    def remove(self, name: str) -> None:
        (self._folder / f"{name}.yaml").unlink()

    def _replace(self, name: str, text: str) -> None:
        """As careful editors do it; nobody sees half a file."""
        draft = self._folder / f".{name}.draft"
        draft.write_text(text)
        draft.rename(self._folder / f"{name}.yaml")


class ClusterPlace(Place):
    """Objects of an API server, which are heard of a moment after they changed."""

    def __init__(self, server: ApiServer, cluster: Cluster) -> None:
        self._server = server
        self._put: dict[str, dict[str, Any]] = {}
        self._followed = KubernetesToolSource(cluster, WatchScope(namespaces=("acme",)))
        self.source: ToolSource = CaughtUp(self._followed, self)

    def put(self, name: str, content: dict[str, Any]) -> None:
        self._server.garbage.pop(name, None)
        self._store(name, content)

    def spoil(self, name: str) -> None:
        self._server.garbage.pop(name, None)
        stored = self._store(name, {"spec": {"spoilt": True}})
        deep = b'{"a":' * 300 + b"1" + b"}" * 300
        metadata = json.dumps(stored["metadata"]).encode()
        self._server.garbage[name] = b'{"kind":"Tool","metadata":' + metadata + b',"spec":' + deep + b"}"

    def remove(self, name: str) -> None:
        del self._put[name]
        self._server.delete("tools", name, namespace="acme")

    def versions(self) -> dict[str, str]:
        """The resourceVersion of each object that exists."""
        objects = {name: self._server.get("tools", name, namespace="acme") for name in self._put}
        return {name: found["metadata"]["resourceVersion"] for name, found in objects.items()}

    def heard(self) -> dict[str, str]:
        origins = (ObjectOrigin("Tool", "acme", name) for name in ("ant", "bee", "cat"))
        found = (self._followed.manifest(origin) for origin in origins)
        return {one.object.key[1]: one.object.version for one in found if one is not None}

    def as_put(self, document: ManifestDocument) -> ManifestDocument:
        """With the metadata that was put: the server writes name and namespace by its own word."""
        assert isinstance(document.origin, ObjectOrigin)
        put = self._put[document.origin.name]
        is_same = document.content is not None and without_metadata(document.content) == without_metadata(put)
        return replace(document, content=put) if is_same else document

    async def close(self) -> None:
        await self._followed.close()

    def _store(self, name: str, content: dict[str, Any]) -> dict[str, Any]:
        self._put[name] = content
        return self._server.put("tools", content, namespace="acme", name=name)


class CaughtUp(ToolSource):
    """Reads when the source has heard of what the server has, which takes a moment."""

    def __init__(self, source: KubernetesToolSource, place: ClusterPlace) -> None:
        self._source = source
        self._place = place

    async def read(self) -> Sequence[ManifestDocument]:
        await self._source.read()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._place.heard() != self._place.versions():
                await asyncio.sleep(0.001)
        return [self._place.as_put(document) for document in await self._source.read()]

    def changes(self) -> AsyncIterator[None]:
        return self._source.changes()


def without_metadata(content: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in content.items() if name != "metadata"}


OpenPlace = Callable[[], AbstractAsyncContextManager[Place]]


@asynccontextmanager
async def _memory() -> AsyncIterator[Place]:
    yield MemoryPlace()


@asynccontextmanager
async def _folder() -> AsyncIterator[Place]:
    with TemporaryDirectory() as folder:
        yield FolderPlace(Path(folder))


@asynccontextmanager
async def _cluster(*, streams_lists: bool) -> AsyncIterator[Place]:
    server = ApiServer(streams_lists=streams_lists)
    with TemporaryDirectory() as folder:
        async with serving(server) as url, cluster_at(Path(folder), url) as cluster:
            place = ClusterPlace(server, cluster)
            yield place
            await place.close()


ADAPTERS: dict[str, OpenPlace] = {
    "memory": _memory,
    "files": _folder,
    "kubernetes": partial(_cluster, streams_lists=True),
    "kubernetes before streaming lists": partial(_cluster, streams_lists=False),
}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_place(request: pytest.FixtureRequest) -> OpenPlace:
    return ADAPTERS[request.param]


@asynccontextmanager
async def watching(place: Place) -> AsyncIterator[Callable[[], Any]]:
    """Yields what waits for the next notice."""
    changes = place.source.changes()
    notices: asyncio.Queue[None] = asyncio.Queue()

    async def follow() -> None:
        async for _ in changes:
            notices.put_nowait(None)

    follower = asyncio.create_task(follow())
    try:
        yield lambda: asyncio.wait_for(notices.get(), PATIENCE_SECONDS)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


async def until(place: Place, notice: Callable[[], Any], is_reached: Callable[[dict[str, Any]], bool]) -> None:
    """Take notices until what can be read is as wanted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_reached(await contents(place)):
            await notice()


async def contents(place: Place) -> dict[str, Any]:
    return {document.origin: document.content for document in await place.source.read()}


names = st.sampled_from(["ant", "bee", "cat"])
steps = st.lists(st.tuples(names, st.sampled_from(["put", "spoil", "remove"]), manifests()), max_size=8)


@given(steps)
@settings(max_examples=25, deadline=None)
async def test_reading_gives_what_exists_now_ordered_by_origin(open_place, history):
    async with open_place() as place:
        expected: dict[str, Any] = {}
        for name, action, content in history:
            if action == "put":
                place.put(name, content)
                expected[name] = content
            elif action == "spoil":
                place.spoil(name)
                expected[name] = None
            elif name in expected:
                place.remove(name)
                del expected[name]
            documents = await place.source.read()
            assert [document.content for document in documents] == [expected[one] for one in sorted(expected)]
            assert [document.origin for document in documents] == sorted(
                (document.origin for document in documents), key=str
            )
            assert all(bool(document.problem) == (document.content is None) for document in documents)


async def test_an_unchanged_manifest_keeps_its_origin(open_place):
    async with open_place() as place:
        place.put("bee", {"kind": "Tool"})
        (before,) = await place.source.read()
        place.put("ant", {"kind": "Tool"})
        place.put("cat", {"kind": "Tool"})
        assert before in await place.source.read()


async def test_adding_changing_and_removing_are_noticed(open_place):
    async with open_place() as place:
        await place.source.read()
        async with watching(place) as notice:
            for _ in range(3):
                await asyncio.sleep(0)
            place.put("ant", {"n": 1})
            await until(place, notice, lambda read: list(read.values()) == [{"n": 1}])
            place.put("ant", {"n": 2})
            await until(place, notice, lambda read: list(read.values()) == [{"n": 2}])
            place.remove("ant")
            await until(place, notice, lambda read: not read)


async def test_a_change_right_after_the_watch_was_opened_is_not_missed(open_place):
    async with open_place() as place:
        await place.source.read()
        async with watching(place) as notice:
            place.put("ant", {"n": 1})
            await notice()
            assert list((await contents(place)).values()) == [{"n": 1}]


async def test_two_who_watch_are_both_told(open_place):
    async with open_place() as place:
        await place.source.read()
        async with watching(place) as one, watching(place) as other:
            for _ in range(3):
                await asyncio.sleep(0)
            place.put("ant", {"n": 1})
            await one()
            await other()
