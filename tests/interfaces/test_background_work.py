"""No background work ends for good: each part is met by an exception that nobody foresaw, once, and comes back; the
restart is counted, shown in `/ready`, and keeps nobody waiting."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from tests.application.pipeline import ANN, Pipeline, tool
from tests.application.tasks.test_task_runner import CLIENT
from tests.application.upstream import Tokens
from tests.events import event
from tests.infrastructure.opa.bundles import bundle_file, module
from tests.services import connections

from stoa.application.catalogue.watch_resources import ResourceUpdate
from stoa.application.concurrency.supervisor import Supervisor
from stoa.application.gateway import Gateway
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.message_bus import InMemoryMessageBus
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.operation_source import InMemoryOperationSource
from stoa.application.memory.task_store import InMemoryTaskStore
from stoa.application.memory.tool_source import InMemoryToolSource
from stoa.application.metering.relay_events import RelayMetering
from stoa.application.ports import Replay
from stoa.application.ports.spec import SpecCredential, SpecDocument, SpecSource
from stoa.application.ports.tool_source import ManifestDocument
from stoa.application.tasks.task_runner import TaskRunner
from stoa.domain.access.identity import TenantId
from stoa.domain.access.rate_limit import LimitCharge, RateLimit
from stoa.domain.calls.invocation import Invocation
from stoa.domain.calls.session import Session
from stoa.domain.calls.task import GivenAnswers, Task, TaskStatus
from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.domain.errors import LimiterUnavailable, SharedStateUnavailable
from stoa.domain.metering.budget import Account, Month, Owner
from stoa.domain.metering.money import MicroUnits
from stoa.domain.operations.binding import LocalBinding
from stoa.domain.origin import FileOrigin
from stoa.infrastructure.oidc.remote_keys import RemoteKeys
from stoa.infrastructure.opa.embedded import OpaWasmPolicyEngine
from stoa.infrastructure.opa.sidecar import OpaServerPolicyEngine
from stoa.infrastructure.openapi import OpenApiSpecKind
from stoa.infrastructure.redis import (
    RedisBudgetLedger,
    RedisConnection,
    RedisMessageBus,
    RedisRateLimiter,
    ReplicaCount,
)
from stoa.interfaces.mcp.methods.tasks import McpTaskDoor
from stoa.interfaces.mcp.streams.announcements import Announcements
from stoa.interfaces.mcp.streams.event_queue import EventQueue
from stoa.interfaces.mcp.streams.replica_relay import ReplicaRelay
from stoa.interfaces.mcp.streams.stream_follower import StreamFollower
from stoa.testing.clock import ManualClock
from stoa.testing.event_publisher import InMemoryEventPublisher
from stoa.testing.metering_backlog import InMemoryMeteringBacklog

PARTS: dict[str, Callable[["Stage"], Awaitable[None]]] = {}
"""By the name under which the restart is counted: brings the part up, kills it, and sees it work again."""


class Stage:
    """A supervisor whose pauses take no time, and one exception that nobody foresaw."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder, self.redis_url = folder, redis_url
        self.clock = ManualClock()
        self.restarted: list[str] = []
        self.supervisor = Supervisor(self.clock, restarted=self.restarted.append, sleep=self._sleep)
        self.report = self.supervisor.report
        self._is_armed = False

    async def _sleep(self, _: float) -> None:
        await asyncio.sleep(0)

    def arm(self) -> None:
        self._is_armed = True

    def trip(self) -> None:
        """Where the part asks an adapter."""
        if self._is_armed:
            self._is_armed = False
            raise LookupError("nobody foresaw this")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.001)

    async def until_it_was_killed(self) -> None:
        await self.until(lambda: not self._is_armed)

    @asynccontextmanager
    async def redis(self) -> AsyncGenerator["Tripping"]:
        async with connections(self.redis_url, report=self.report) as (redis,):
            yield Tripping(redis, self)


class Tripping:
    """A Redis connection that meets the exception wherever it is asked next."""

    def __init__(self, redis: RedisConnection, stage: Stage) -> None:
        self._redis, self._stage = redis, stage

    def __getattr__(self, name: str) -> Any:
        self._stage.trip()
        return getattr(self._redis, name)


def part(name: str) -> Callable[[Callable[[Stage], Awaitable[None]]], Callable[[Stage], Awaitable[None]]]:
    def register(kill: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
        assert name not in PARTS, name
        PARTS[name] = kill
        return kill

    return register


@part("token keys")
async def _keys(stage: Stage) -> None:
    key = ECKey.generate_key("P-256").as_dict(private=False, kid="one", use="sig")

    async def fetch(url: str) -> bytes:
        stage.trip()
        where = {"issuer": "http://issuer.example", "jwks_uri": "http://issuer.example/certs"}
        return json.dumps(where if url.endswith("configuration") else {"keys": [key]}).encode()

    problems: list[str | None] = []

    async def sleep(_: float) -> None:
        problems.append(keys.problem)
        await asyncio.sleep(0)

    keys = RemoteKeys("http://issuer.example", fetch, stage.clock, report=stage.report)
    stage.arm()
    stage.supervisor.start({"token keys": lambda: keys.watch(sleep)})
    await stage.until(lambda: len(problems) > 1)
    assert problems[0] is not None
    assert "LookupError" in problems[0]
    assert problems[1] is None
    assert await keys.key_for("one", "ES256") is not None


@part("policy")
async def _policy(stage: Stage) -> None:
    class Cache:
        def module(self, compiler: Any, wasm: bytes) -> Any:
            stage.trip()
            return compiler.compile(wasm)

    path = bundle_file(stage.folder / "bundle.tar.gz", module(result=[{"result": {"allow": True}}]))
    engine = OpaWasmPolicyEngine(path, cache=Cache())  # type: ignore[arg-type]
    before = engine.health().detail
    stage.arm()
    stage.supervisor.start({"policy": engine.watch})
    while engine.health().detail == before:  # again and again: when the watch has begun is not known
        bundle_file(path, module(result=[{"result": {"allow": False}}]))
        await asyncio.sleep(0.05)


@part("policy server")
async def _policy_server(stage: Stage) -> None:
    class Server(OpaServerPolicyEngine):
        asked = 0

        async def probe(self) -> None:
            stage.trip()
            self.asked += 1

    server = Server("http://127.0.0.1:9", stage.clock)
    stage.arm()
    stage.supervisor.start({"policy server": server.watch})
    await stage.until(lambda: server.asked > 0)


@part("redis bus")
async def _bus(stage: Stage) -> None:
    async with stage.redis() as redis:
        bus = RedisMessageBus(redis, retry_seconds=0.001, report=stage.report)  # type: ignore[arg-type]
        subscription = await bus.subscribe("t")
        stage.arm()  # for the moment when it connects anew
        await redis._redis.client.connection_pool.disconnect()
        await stage.until_it_was_killed()
        assert await subscription.next() is None
        await bus.publish("t", b"on")
        assert await subscription.next() == b"on"
        await bus.close()


@part("number of replicas")
async def _replicas(stage: Stage) -> None:
    async with stage.redis() as redis:
        count = ReplicaCount(redis, assumed=7, every_seconds=0.001)  # type: ignore[arg-type]
        stage.arm()
        stage.supervisor.start({"number of replicas": count.watch})
        await stage.until(lambda: count() == 1)
        await stage.supervisor.stop()


@part("redis")
async def _commands(stage: Stage) -> None:
    async with stage.redis() as redis:
        connection = redis._redis

        async def script(**_: Any) -> int:
            stage.trip()
            return 1

        stage.arm()
        with pytest.raises(SharedStateUnavailable):
            await connection.run(script)  # type: ignore[arg-type]
        assert await connection.run(script) == 1  # type: ignore[arg-type]


@part("rate limits")
async def _limits(stage: Stage) -> None:
    async with stage.redis() as redis:
        limiter = RedisRateLimiter(redis, stage.clock, report=stage.report)  # type: ignore[arg-type]
        charges = [LimitCharge("tenant", "t", RateLimit(requests_per_minute=60, burst=5))]
        stage.arm()
        waiting = await asyncio.gather(*(limiter.take(charges) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in waiting] == [LimiterUnavailable] * 3
        assert (await limiter.take(charges)).is_allowed


@part("budgets")
async def _budgets(stage: Stage) -> None:
    async with stage.redis() as redis:
        ledger = RedisBudgetLedger(redis, retry_seconds=0.001, report=stage.report)  # type: ignore[arg-type]
        account = Account(Owner(TenantId("acme")), Month.of(stage.clock.now()), MicroUnits(100))
        await ledger.reserve([account], MicroUnits(90))
        stage.arm()
        ledger.settle([account], MicroUnits(90), MicroUnits(10))
        await stage.until_it_was_killed()
        await stage.until(lambda: not ledger._is_behind)
        assert await ledger.spent([account]) == [10]
        await ledger.close()


@part("forwarding of events")
async def _forwarding(stage: Stage) -> None:
    class Publisher(InMemoryEventPublisher):
        async def publish(self, events: Sequence[Any]) -> Sequence[Any]:
            stage.trip()
            return await super().publish(events)

    async def wait(_: float) -> None:
        await asyncio.sleep(0)

    sink, publisher = InMemoryMeteringSink(), Publisher()
    backlog = InMemoryMeteringBacklog(sink)
    relay = RelayMetering(backlog=backlog, publisher=publisher, clock=stage.clock, wait=wait, report=stage.report)
    await sink.record(event("a"), is_reserved=False)
    stage.arm()
    stage.supervisor.start({"relay": relay.run})
    await stage.until(lambda: len(publisher.published) == 1)
    await stage.supervisor.stop()


class Source(InMemoryToolSource):
    """`trips`: in reading, or in following."""

    def __init__(self, stage: Stage, trips: str) -> None:
        super().__init__()
        self._stage, self._trips = stage, trips

    async def read(self) -> Sequence[ManifestDocument]:
        if self._trips == "read":
            self._stage.trip()
        return await super().read()

    async def changes(self) -> AsyncIterator[None]:
        async for change in super().changes():
            if self._trips == "changes":
                self._stage.trip()
            yield change


async def _kill_catalogue(stage: Stage, trips: str) -> None:
    source = Source(stage, trips)
    gateway = Gateway(sources=[source], report=stage.report, clock=stage.clock)
    await gateway.loader.execute()
    stage.supervisor.start({trips: gateway.loader.watch})
    await asyncio.sleep(0.01)
    stage.arm()
    source.put("a.yaml#1", {})  # a change that the watch does not live to see
    await stage.until_it_was_killed()
    await stage.until(lambda: any("a.yaml" in str(finding) for finding in gateway.loader.findings))
    await stage.supervisor.stop()


@part("read")
async def _catalogue(stage: Stage) -> None:
    await _kill_catalogue(stage, "read")


@part("changes")
async def _source(stage: Stage) -> None:
    await _kill_catalogue(stage, "changes")


@part("operations")
async def _operations(stage: Stage) -> None:
    class Plugins(InMemoryOperationSource):
        async def changes(self) -> AsyncIterator[None]:
            async for change in super().changes():
                stage.trip()
                yield change

    source = Plugins("plugins")
    gateway = Gateway(operation_sources=[source], report=stage.report, clock=stage.clock)
    gateway.tool(lambda: 1, name="f")
    await gateway.loader.execute()
    stage.supervisor.start({"operations": gateway.loader.watch})
    await asyncio.sleep(0.01)
    stage.arm()
    source.replace([tool("plugin", binding=LocalBinding(function="global/f"))])  # the watch does not live to see it
    await stage.until_it_was_killed()
    await stage.until(lambda: gateway.catalogue.find(TenantId("acme"), "plugin") is not None)
    await stage.supervisor.stop()


@part("catalogue")
async def _specs(stage: Stage) -> None:
    class Specs(SpecSource):
        async def fetch(
            self, location: str, *, root: str = "", credential: SpecCredential | None = None
        ) -> SpecDocument:
            stage.trip()
            text = {"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": {}}
            return SpecDocument(location, json.dumps(text))

    def tool_set(name: str) -> dict[str, Any]:
        spec = {"openAPISpec": {"url": f"https://{name}.example/openapi.json"}}
        return {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": name}, "spec": spec}

    source = InMemoryToolSource()
    for name in ("one", "two"):
        source.put(FileOrigin(f"{name}.yaml", 1), tool_set(name))
    kinds = [OpenApiSpecKind()]
    gateway = Gateway(sources=[source], specs=Specs(), spec_kinds=kinds, report=stage.report, clock=stage.clock)
    stage.arm()
    findings = [str(finding) for finding in await gateway.loader.execute()]
    assert any("one.yaml" in finding and "LookupError" in finding for finding in findings)
    one, two = FileOrigin("one.yaml", 1), FileOrigin("two.yaml", 1)
    assert [bool(gateway.loader.operations_of(origin)) for origin in (one, two)] == [False, True]
    assert not any("LookupError" in str(finding) for finding in await gateway.loader.execute())
    assert gateway.loader.operations_of(one)


class Store(InMemoryTaskStore):
    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.clock)
        self._stage = stage

    async def replace(self, task: Task, over: int) -> bool:
        self._stage.trip()
        return await super().replace(task, over)


@part("tasks")
async def _tasks(stage: Stage) -> None:
    pipeline = Pipeline(tool(tasks="required"))
    store = Store(stage)
    runs = TaskRunner(
        pipeline.invoke_operation, store, stage.clock, McpTaskDoor({}), tick_seconds=0.001, report=stage.report
    )
    asked = Invocation(credential=ANN, name="count", arguments={}, door="library")
    stage.arm()
    task = await runs.start(asked, CLIENT, GivenAnswers)
    assert isinstance(task, Task)
    await stage.until(lambda: not runs._leases)
    kept = await store.find(task.id)
    assert kept is not None
    assert kept.status is TaskStatus.COMPLETED
    await runs.close()


class Bus(InMemoryMessageBus):
    """`trips`: in publishing, or in hearing."""

    def __init__(self, stage: Stage, trips: str) -> None:
        super().__init__()
        self._stage, self._trips = stage, trips

    async def publish(self, topic: str, message: bytes) -> None:
        if self._trips == "publish":
            self._stage.trip()
        await super().publish(topic, message)


@part("messages of other replicas")
async def _messages(stage: Stage) -> None:
    heard: list[int] = []

    def hear(number: int) -> None:
        stage.trip()
        heard.append(number)

    relay = ReplicaRelay(Bus(stage, ""), {"told": hear}, report=stage.report)
    await relay.open()
    stage.arm()
    for number in (1, 2):
        await relay.tell_all("told", number)
    await stage.until(lambda: heard == [2])
    await relay.close()


@part("announcements")
async def _announcements(stage: Stage) -> None:
    bus, heard = Bus(stage, "publish"), list[ResourceUpdate]()
    here, there = (Announcements(bus, heard.append, report=stage.report) for _ in range(2))
    await here.open()
    await there.open()
    stage.arm()
    here.pass_on({ResourceUpdate(frozenset(), "file://lost")})
    await stage.until_it_was_killed()
    here.pass_on({ResourceUpdate(frozenset(), "file://told")})
    await stage.until(lambda: [update.uri for update in heard] == ["file://told"])
    await here.close()
    await there.close()


@part("streams")
async def _streams(stage: Stage) -> None:
    class Events(InMemoryEventStore):
        async def replay(self, session_id: str, stream: str, after: int) -> Replay | None:
            stage.trip()
            return await super().replay(session_id, stream, after)

    async def is_alive() -> bool:
        return True

    bus, events = InMemoryMessageBus(), Events()
    session = Session("session", "ann", "2025-11-25", ClientCapabilities())
    for arm in (stage.arm, lambda: None):
        queue = EventQueue()
        follower = StreamFollower(events, session, "s", await bus.subscribe("t"), queue, report=stage.report)
        assert await follower.begin(None, is_primed=False)
        arm()
        follower.run(is_alive, 3600)
        number = await events.append(session.id, "s", b"a message")
        await bus.publish("t", b"%d:late" % (number + 5))  # it missed some, and looks them up
        found = await asyncio.wait_for(queue.next(), 20)
        if arm == stage.arm:
            assert found is None  # over: its client comes back, and finds what it missed
        else:
            assert found is not None
            follower.stop()


@part("upstream tokens")
async def _upstream(stage: Stage) -> None:
    at = Tokens(report=stage.report)
    grant = at.server.grant

    async def tripping(request: Any) -> Any:
        stage.trip()
        return await grant(request)

    at.server.grant = tripping  # type: ignore[method-assign]
    stage.arm()
    waiting = await asyncio.gather(at.own().token(), at.own().token(), return_exceptions=True)
    assert [type(one) for one in waiting] == [LookupError] * 2
    assert (await at.own().token()).startswith("granted-")


@pytest.mark.parametrize("name", PARTS)
async def test_background_work_survives_what_nobody_foresaw(name: str, tmp_path: Path, in_process_redis: str) -> None:
    stage = Stage(tmp_path, in_process_redis)
    async with asyncio.timeout(60):
        await PARTS[name](stage)
    assert stage.restarted == [name]
    (finding,) = stage.supervisor.health().findings
    assert finding.startswith(f"{name}: ended unexpectedly (LookupError)")
    assert stage.supervisor.health().is_ready
    await stage.supervisor.stop()
