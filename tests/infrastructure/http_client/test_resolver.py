"""Names to addresses: one look-up per name, kept as long as DNS says, and no name delays another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.infrastructure.http_client import HostResolver, NameNotResolved
from stoa.infrastructure.http_client.resolver import FAILURE_SECONDS, MAX_TTL_SECONDS, Found, LookUp
from stoa.testing.clock import ManualClock


class Table(LookUp):
    """Answers at once, except for names that begin with `hangs`."""

    def __init__(self, ttl_seconds: float = 60, **names: str) -> None:
        self.names, self.ttl_seconds = names, ttl_seconds
        self.asked: list[str] = []
        self.is_closed = False

    async def __call__(self, name: str) -> Found:
        self.asked.append(name)
        if name.startswith("hangs"):
            await asyncio.Event().wait()
        if name not in self.names:
            raise OSError("Domain name not found")
        return Found(tuple(self.names[name].split()), self.ttl_seconds)

    async def close(self) -> None:
        self.is_closed = True


@asynccontextmanager
async def resolving(table: Table, clock: ManualClock | None = None, **options: float) -> AsyncIterator[HostResolver]:
    resolver = HostResolver(table, clock or ManualClock(), **options)
    try:
        yield resolver
    finally:
        await resolver.close()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_resolver_many_callers_of_one_name_share_one_look_up():
    table = Table(api="203.0.113.1 2001:db8::1")
    async with resolving(table) as resolver:
        found = await asyncio.gather(*(resolver.addresses(name) for name in ["api", "API", "api", "Api"]))
    assert found == [("203.0.113.1", "2001:db8::1")] * 4
    assert table.asked == ["api"]


async def test_resolver_keeps_an_answer_for_its_ttl_and_no_longer():
    clock, table = ManualClock(), Table(ttl_seconds=30, api="203.0.113.1")
    async with resolving(table, clock) as resolver:
        await resolver.addresses("api")
        clock.advance(29.9)
        await resolver.addresses("api")
        assert table.asked == ["api"]
        table.names["api"] = "203.0.113.2"
        clock.advance(0.1)
        assert await resolver.addresses("api") == ("203.0.113.2",)


@pytest.mark.parametrize(("ttl", "kept"), [(0, 0), (1_000_000, MAX_TTL_SECONDS)])
async def test_resolver_bounds_how_long_an_answer_is_kept(ttl, kept):
    clock, table = ManualClock(), Table(ttl_seconds=ttl, api="203.0.113.1")
    async with resolving(table, clock) as resolver:
        await resolver.addresses("api")
        clock.advance(kept)
        await resolver.addresses("api")
    assert table.asked == ["api", "api"]


async def test_resolver_remembers_for_a_moment_that_a_name_does_not_exist():
    clock, table = ManualClock(), Table()
    async with resolving(table, clock) as resolver:
        for _ in range(3):
            with pytest.raises(NameNotResolved, match="api does not resolve: Domain name not found"):
                await resolver.addresses("api")
        assert table.asked == ["api"]
        table.names["api"] = "203.0.113.1"
        clock.advance(FAILURE_SECONDS)
        assert await resolver.addresses("api") == ("203.0.113.1",)


async def test_resolver_gives_a_name_that_hangs_up_in_time_and_asks_once():
    table = Table()
    async with resolving(table, timeout_seconds=0.01) as resolver:
        for _ in range(3):
            with pytest.raises(NameNotResolved, match=r"no answer within 0\.01 s"):
                await resolver.addresses("hangs")
    assert table.asked == ["hangs"]


async def test_resolver_a_cancelled_caller_ends_its_waiting_and_nobody_elses():
    gate = asyncio.Event()

    class Gated(Table):
        async def __call__(self, name: str) -> Found:
            found = await super().__call__(name)
            await gate.wait()
            return found

    table = Gated(api="203.0.113.1")
    async with resolving(table) as resolver:
        first, second = (asyncio.create_task(resolver.addresses("api")) for _ in range(2))
        await settled()
        first.cancel()
        await settled()
        assert first.cancelled()
        gate.set()
        assert await second == ("203.0.113.1",)
        assert await resolver.addresses("api") == ("203.0.113.1",)
    assert table.asked == ["api"]


async def test_resolver_names_that_hang_delay_no_other_name_however_many_they_are():
    table = Table(api="203.0.113.1")
    async with resolving(table, max_lookups=8) as resolver:
        hanging: list[asyncio.Task[tuple[str, ...]]] = []
        for number in range(100):
            hanging.append(asyncio.create_task(resolver.addresses(f"hangs{number}")))
            await settled()
        assert await resolver.addresses("api") == ("203.0.113.1",)
        assert sum(task.done() for task in hanging) >= 92  # given up, the oldest first
        for task in hanging[:92]:
            with pytest.raises(NameNotResolved, match="given up"):
                await task
        with pytest.raises(NameNotResolved, match="given up"):
            await resolver.addresses("hangs0")
        assert table.asked.count("hangs0") == 1
        for task in hanging[93:]:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_resolver_that_is_closed_tells_those_who_wait():
    table = Table()
    resolver = HostResolver(table, ManualClock())
    waiting = asyncio.create_task(resolver.addresses("hangs"))
    await settled()
    await resolver.close()
    with pytest.raises(NameNotResolved):
        await waiting
    assert table.is_closed


async def test_resolver_keeps_a_bounded_number_of_names():
    table = Table(**{f"n{number}": "203.0.113.1" for number in range(5)})
    async with resolving(table, max_names=3) as resolver:
        for number in (0, 1, 2, 3, 0):
            await resolver.addresses(f"n{number}")
    assert table.asked == ["n0", "n1", "n2", "n3", "n0"]


@given(st.ip_addresses())
async def test_resolver_takes_a_literal_address_as_it_is(address):
    table = Table()
    async with resolving(table) as resolver:
        assert await resolver.addresses(str(address)) == (str(address),)
    assert table.asked == []


@pytest.mark.parametrize("host", ["", "a b", "a\n", "a\x00b", "x" * 255, "\udcff", "ä" * 300])
async def test_resolver_asks_for_nothing_that_cannot_be_a_name(host):
    table = Table()
    async with resolving(table) as resolver:
        with pytest.raises(NameNotResolved):
            await resolver.addresses(host)
    assert table.asked == []


async def test_resolver_asks_for_international_names_in_ascii():
    table = Table(**{"xn--bcher-kva.test": "203.0.113.1"})
    async with resolving(table) as resolver:
        assert await resolver.addresses("bücher.test") == ("203.0.113.1",)
