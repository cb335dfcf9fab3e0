"""Changes of single resources of an upstream, for those who watch them."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.infrastructure.mcp_upstream.peers import ADMIN, BOB, gateway_with, message, result, stoa_server, tool_set
from tests.infrastructure.rest.loopback import loopback

from stoa.application import Gateway
from stoa.application.catalogue.follow_resources import WatchedResource
from stoa.domain.operations.operation import OperationKey

URI, OTHER = "up+notes://a", "up+notes://b"


def notes() -> Gateway:
    upstream = Gateway()

    @upstream.resource("notes://{name}")
    def note(name: str) -> str:
        return name

    @upstream.resource("fixed://x")
    def fixed() -> str:
        return "x"

    return upstream


class Told:
    """The updates that a gateway's doors hear of."""

    def __init__(self, gateway):
        self.updates = []
        self._came = asyncio.Event()
        gateway.watch_resources.subscribe(self._take)

    def _take(self, update):
        if update.uri is not None:
            self.updates.append((update.uri, update.reader))
            self._came.set()

    async def next(self):
        async with asyncio.timeout(20):
            while not self.updates:
                self._came.clear()
                await self._came.wait()
        return self.updates.pop(0)


@asynccontextmanager
async def watching(upstream, revision):
    async with (
        stoa_server(upstream) as url,
        gateway_with(tool_set("up", url=url, protocolVersion=revision)) as gateway,
    ):
        yield gateway, Told(gateway), gateway.watch_resources.following


async def watched(gateway, caller, uri):
    key = await gateway.watch_resources.watchable(caller, None, uri, "mcp")
    assert isinstance(key, OperationKey)
    return WatchedResource(caller, uri, key)


async def repeatedly(upstream, uri, told):
    """Announce until it is heard: no message says that the subscription stands."""
    while not told.updates:
        upstream.resource_updated(uri)
        await asyncio.sleep(0.05)
    return await told.next()


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
async def test_watched_resource_of_an_upstream_is_told_to_its_watcher_alone(revision):
    upstream = notes()
    async with watching(upstream, revision) as (gateway, told, following):
        following.replace("ada's stream", [await watched(gateway, ADMIN, URI)])
        async with asyncio.timeout(20):
            assert await repeatedly(upstream, "notes://a", told) == (URI, ADMIN.identity_key)
        # Bob watches another one: from here on each hears of his own.
        following.replace("bob's stream", [await watched(gateway, BOB, OTHER)])
        async with asyncio.timeout(20):
            while (OTHER, BOB.identity_key) not in told.updates:
                upstream.resource_updated("notes://b")
                await asyncio.sleep(0.05)
        assert {reader for uri, reader in told.updates if uri == OTHER} == {BOB.identity_key}
        assert {reader for uri, reader in told.updates if uri == URI} <= {ADMIN.identity_key}


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
async def test_resource_that_is_not_watched_any_more_is_not_followed(revision):
    upstream = notes()
    async with watching(upstream, revision) as (gateway, told, following):
        both = [await watched(gateway, ADMIN, uri) for uri in (URI, OTHER)]
        following.replace("stream", both)
        async with asyncio.timeout(20):
            await repeatedly(upstream, "notes://a", told)
            following.replace("stream", both[1:])
            told.updates.clear()
            await repeatedly(upstream, "notes://b", told)
        told.updates.clear()
        upstream.resource_updated("notes://a")
        upstream.resource_updated("notes://b")
        assert (await told.next())[0] == OTHER
        following.replace("stream", ())
        await following.close()
        assert following.watchers == ()


async def test_upstream_that_tells_of_no_changes_is_left_alone():
    asked = []

    def answered(seen):
        said = message(seen)
        asked.append(said.get("method"))
        match said.get("method"):
            case "server/discover":
                return result(seen, supportedVersions=["2026-07-28"], capabilities={"resources": {}})
            case "resources/list":
                return result(seen, resources=[{"uri": "notes://a", "name": "a"}])
            case "resources/templates/list":
                return result(seen, resourceTemplates=[])

    async with loopback(answered) as server, gateway_with(tool_set("up", url=f"{server.url}/mcp")) as gateway:
        following = gateway.watch_resources.following
        following.replace("stream", [await watched(gateway, ADMIN, URI)])
        async with asyncio.timeout(10):
            await asyncio.gather(*following._tasks.values())
        assert "subscriptions/listen" not in asked
