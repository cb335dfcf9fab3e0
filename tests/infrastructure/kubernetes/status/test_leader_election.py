"""One leader at a time, whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.infrastructure.kubernetes.timing import ManualTime
from tests.kubernetes import ApiServer, cluster_at, serving

from stoa.infrastructure.kubernetes.status.leader_election import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    LeaderElection,
    LeaseName,
)

LEASE = LeaseName("stoa", "gateway")


class Replica:
    def __init__(self, election: LeaderElection, terms: list[None]) -> None:
        self.election = election
        self.terms = terms
        self._task = asyncio.create_task(election.run())

    @property
    def leads(self) -> bool:
        return self.election.leads_for(0)

    async def stop(self) -> None:
        """End it as a process that gets SIGTERM."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Replicas:
    """Replicas with one clock, whose connections a test can cut."""

    def __init__(self, folder: Path, url: str, time: ManualTime, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._url = url
        self.time = time
        self._stack = stack

    async def start(self, identity: str) -> Replica:
        """One that has taken its first step."""
        cluster = await self._stack.enter_async_context(
            cluster_at(self._folder, self._url, clock=self.time.clock, sleep=self.time.sleeper())
        )
        terms: list[None] = []
        sleeper = self.time.sleeper()
        election = LeaderElection(cluster, LEASE, identity, self.time.clock, lambda: terms.append(None), sleep=sleeper)
        replica = Replica(election, terms)
        await until(lambda: sleeper.slept > 0)
        self._stack.push_async_callback(replica.stop)
        return replica


@asynccontextmanager
async def replicas_at(folder: Path, server: ApiServer) -> AsyncIterator[Replicas]:
    async with serving(server) as url, AsyncExitStack() as stack:
        yield Replicas(folder, url, ManualTime(), stack)


async def until(is_reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_reached():
            await asyncio.sleep(0)


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


def holder(server: ApiServer) -> str:
    return str(server.get("leases", "gateway", namespace="stoa")["spec"]["holderIdentity"])


async def test_leader_is_the_first_and_stays_while_it_renews(tmp_path, server):
    async with replicas_at(tmp_path, server) as replicas:
        first = await replicas.start("first")
        await until(lambda: first.leads)
        second = await replicas.start("second")
        for _ in range(2 * LEASE_SECONDS):
            await replicas.time.advance(1)
            assert first.leads
            assert not second.leads
        assert len(first.terms) == 1
        assert holder(server) == "first"


async def test_leader_that_ends_releases_the_lease_and_another_leads_at_once(tmp_path, server):
    async with replicas_at(tmp_path, server) as replicas:
        first = await replicas.start("first")
        await until(lambda: first.leads)
        second = await replicas.start("second")
        await replicas.time.advance(1)
        await first.stop()
        assert not first.leads
        await until(lambda: second.leads)
        assert server.get("leases", "gateway", namespace="stoa")["spec"]["leaseTransitions"] == 1


async def test_leader_without_the_api_server_stops_before_another_starts(tmp_path, server):
    async with replicas_at(tmp_path, server) as replicas:
        first = await replicas.start("first")
        await until(lambda: first.leads)
        second = await replicas.start("second")
        await replicas.time.advance(1)
        server.refused_identities.add("first")
        seconds = 0
        while not second.leads:
            assert seconds < 15, "replaced within 15 s"
            await replicas.time.advance(1)
            seconds += 1
            assert not (first.leads and second.leads)
        assert not first.leads


async def test_leader_asks_the_server_only_to_renew(tmp_path, server):
    async with replicas_at(tmp_path, server) as replicas:
        first = await replicas.start("first")
        await until(lambda: first.leads)
        await replicas.start("second")
        for _ in range(3):
            await replicas.time.advance(1)
        before = len(server.requests)
        for _ in range(int(60 / RENEW_SECONDS)):
            await replicas.time.advance(RENEW_SECONDS)
            assert first.leads
        assert len(server.requests) - before <= 60 / RENEW_SECONDS + 1


async def test_leader_without_the_right_says_so(tmp_path, server):
    server.refusals["leases"] = 403, "Forbidden"
    async with replicas_at(tmp_path, server) as replicas:
        first = await replicas.start("first")
        assert "Forbidden" in first.election.problem
        assert not first.leads
