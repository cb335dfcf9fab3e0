"""A thousand tools and the official Python client in both eras: listed, called, and heard of when they change."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ToolListChangedNotification
from tests.e2e.manifests import THOUSAND, describe, owned, tool, write, write_thousand
from tests.e2e.processes import GatewayProcess, Upstream, serving

ERAS = {"legacy": "2025-11-25", "2026-07-28": "2026-07-28"}
SOON = 60.0
"""Seconds within which a client has heard of a change."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream().listening() as upstream:
        yield upstream


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(tmp_path, {"RATE_LIMIT_ENABLED": "false"})
    write_thousand(gateway, upstream.url)
    with serving(gateway):
        yield gateway


class Listener:
    """A connected client, and how often it was told that the tools changed."""

    def __init__(self, mode: str, tenant: str) -> None:
        self.mode = mode
        self.tenant = tenant
        self.told = 0
        self.client: Client | None = None
        self._heard = asyncio.Event()

    def hear(self) -> None:
        self.told += 1
        self._heard.set()

    async def names(self) -> set[str]:
        assert self.client is not None
        names: set[str] = set()
        cursor: str | None = None
        while True:
            page = await self.client.list_tools(cursor=cursor)
            names |= {tool.name for tool in page.tools}
            if page.next_cursor is None:
                return names
            cursor = page.next_cursor

    async def until_sees(self, name: str) -> None:
        """It lists again whenever it is told, and only then."""
        async with asyncio.timeout(SOON):
            while True:
                await self._heard.wait()
                self._heard.clear()
                if name in await self.names():
                    return


@asynccontextmanager
async def listening(
    gateway: GatewayProcess, mode: str, tenant: str, log: pytest.LogCaptureFixture
) -> AsyncGenerator[Listener]:
    """Nothing that happens from here on is missed."""
    listener = Listener(mode, tenant)

    async def hear(message: Any) -> None:
        if mode == "legacy" and isinstance(message, ToolListChangedNotification):
            listener.hear()

    headers = {"Authorization": f"Bearer {gateway.token('tenant-admin', tenant)}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=20) as http:
        transport = streamable_http_client(f"{gateway.url}/mcp", http_client=http)
        before = _get_streams(log)
        async with Client(transport, mode=mode, read_timeout_seconds=20, message_handler=hear) as client:
            listener.client = client
            assert client.protocol_version == ERAS[mode]
            if mode == "legacy":
                async with asyncio.timeout(SOON):
                    while _get_streams(log) == before:
                        await asyncio.sleep(0.01)
                yield listener
            else:
                async with client.listen(tools_list_changed=True) as changes:

                    async def follow() -> None:
                        async for _ in changes:
                            listener.hear()

                    following = asyncio.create_task(follow())
                    yield listener
                    following.cancel()


def _get_streams(log: pytest.LogCaptureFixture) -> int:
    """The client opens its GET stream in the background and tells nobody but its log."""
    return sum(record.getMessage() == "GET SSE connection established" for record in log.records)


async def test_a_thousand_tools_are_listed_and_every_client_that_may_hear_of_a_change_sees_it(
    gateway: GatewayProcess, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mcp.client.streamable_http")
    async with (
        listening(gateway, "legacy", "alpha", caplog) as old_alpha,
        listening(gateway, "2026-07-28", "alpha", caplog) as new_alpha,
        listening(gateway, "legacy", "beta", caplog) as old_beta,
        listening(gateway, "2026-07-28", "beta", caplog) as new_beta,
    ):
        alpha, beta = [old_alpha, new_alpha], [old_beta, new_beta]
        for one in (*alpha, *beta):
            assert await one.names() == set(THOUSAND)
            assert one.client is not None
            answer = await one.client.call_tool(THOUSAND[-1], {"q": one.mode})
            assert not answer.is_error, answer.content
            assert upstream.seen[-1].target == f"/{THOUSAND[-1]}?q={one.mode}"

        write(gateway, "own.yaml", owned(tool("own", upstream.url), "alpha"))
        await asyncio.gather(*(one.until_sees("own") for one in alpha))

        describe(gateway, "thousand.json", [*THOUSAND, "one_more"])
        await asyncio.gather(*(one.until_sees("one_more") for one in (*alpha, *beta)))
        assert [len(await one.names()) for one in (*alpha, *beta)] == [1002, 1002, 1001, 1001]
        assert [one.told for one in beta] == [1, 1], "a tenant hears nothing of another tenant's own tool"
