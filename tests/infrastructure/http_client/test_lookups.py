"""DNS as /etc/resolv.conf says, against a server on loopback; and connections over it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tests.infrastructure.http_client.dns_server import DnsServer, dns_server
from tests.infrastructure.rest.loopback import answer, loopback

from stoa.infrastructure.http_client import (
    ANYWHERE,
    PUBLIC_ONLY,
    DnsLookUp,
    ForbiddenAddress,
    HostResolver,
    NameNotResolved,
    OutboundRules,
    SystemLookUp,
)
from stoa.infrastructure.http_client.connector import guarded_connector

RECORDS = {
    "api.test": ("203.0.113.1", "2001:db8::1"),
    "only6.test": ("2001:db8::2",),
    "pets.shop.svc.cluster.test": ("203.0.113.3",),
    "pets.svc.cluster.test": ("203.0.113.4",),
    "my_service.test": ("203.0.113.5",),
    "loop.test": ("127.0.0.1",),
}


@asynccontextmanager
async def resolver_of(server: DnsServer, **options: Any) -> AsyncIterator[HostResolver]:
    resolver = HostResolver(DnsLookUp([f"127.0.0.1:{server.port}"], **options))
    try:
        yield resolver
    finally:
        await resolver.close()


async def test_dns_gives_addresses_of_both_families_and_their_ttl():
    async with dns_server(RECORDS, ttl_seconds=42) as server:
        dns = DnsLookUp([f"127.0.0.1:{server.port}"])
        found = await dns("api.test")
        assert (set(found.addresses), found.ttl_seconds) == ({"203.0.113.1", "2001:db8::1"}, 42)
        assert (await dns("only6.test")).addresses == ("2001:db8::2",)
        assert (await dns("my_service.test")).addresses == ("203.0.113.5",)
        with pytest.raises(OSError, match="not found"):
            await dns("missing.test")
        await dns.close()


async def test_dns_follows_search_domains_and_ndots_as_in_a_kubernetes_pod():
    search = ["shop.svc.cluster.test", "svc.cluster.test", "cluster.test"]
    async with dns_server(RECORDS) as server, resolver_of(server, search=search, ndots=5) as resolver:
        assert await resolver.addresses("pets") == ("203.0.113.3",)
        assert await resolver.addresses("pets.svc") == ("203.0.113.4",)
        assert "203.0.113.1" in await resolver.addresses("api.test")  # in the end as it stands
        assert server.asked["api.test.shop.svc.cluster.test"] == 1  # ndots: the search comes first


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "x.localhost"])
async def test_dns_is_not_asked_for_localhost(name):
    async with dns_server(RECORDS) as server, resolver_of(server) as resolver:
        assert "127.0.0.1" in await resolver.addresses(name)
        assert not server.asked


async def test_dns_names_that_hang_delay_no_other_name():
    """Six were enough to stop every name, when each held one of four threads."""
    async with dns_server(RECORDS) as server, resolver_of(server) as resolver:
        hanging: list[asyncio.Task[tuple[str, ...]]] = []
        for number in range(200):  # one by one, because the server's socket holds so many at a time
            hanging.append(asyncio.create_task(resolver.addresses(f"n{number}.hangs.test")))
            await server.has_heard_of(f"n{number}.hangs.test")
        async with asyncio.timeout(4):  # before any of those that hang ends
            assert "203.0.113.1" in await resolver.addresses("api.test")
            assert not any(task.done() for task in hanging)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_dns_callers_who_leave_do_not_multiply_look_ups_of_a_name_that_hangs():
    async with dns_server(RECORDS) as server, resolver_of(server) as resolver:
        for _ in range(50):
            caller = asyncio.create_task(resolver.addresses("x.hangs.test"))
            await server.has_heard_of("x.hangs.test")
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
        assert server.asked["x.hangs.test"] == 1


async def test_the_system_finds_what_its_own_files_know():
    resolver = HostResolver(SystemLookUp())
    assert "127.0.0.1" in await resolver.addresses("localhost")
    with pytest.raises(NameNotResolved):
        await resolver.addresses("no-such-name.invalid")
    await resolver.close()


async def fetched(url: str, rules: OutboundRules, resolver: HostResolver) -> int:
    async with (
        aiohttp.ClientSession(connector=guarded_connector(rules, resolver)) as session,
        session.get(url) as response,
    ):
        return response.status


async def test_a_name_that_is_resolved_is_connected_to_where_the_rules_allow_and_only_there():
    async with (
        dns_server(RECORDS) as names,
        resolver_of(names) as resolver,
        loopback(lambda _: answer()) as server,
    ):
        url = server.url.replace("127.0.0.1", "loop.test")
        assert await fetched(url, ANYWHERE, resolver) == 200
        assert server.seen[0].header("Host") == url.removeprefix("http://")
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await fetched(url, PUBLIC_ONLY, resolver)
        assert isinstance(refused.value.os_error, ForbiddenAddress)
        with pytest.raises(aiohttp.ClientConnectorDNSError):
            await fetched("http://missing.test", ANYWHERE, resolver)


async def test_a_name_that_changes_its_address_to_a_forbidden_one_is_refused():
    """Rebinding: each connection is judged by the address that it is made to."""
    async with dns_server({"api.test": ("203.0.113.1",)}, ttl_seconds=0) as names, resolver_of(names) as resolver:
        assert await resolver.addresses("api.test") == ("203.0.113.1",)
        names.records["api.test"] = ("127.0.0.1",)
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await fetched("http://api.test", PUBLIC_ONLY, resolver)
        assert isinstance(refused.value.os_error, ForbiddenAddress)
