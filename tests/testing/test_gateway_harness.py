"""The harness of `stoa.testing`, used as a program that embeds the gateway would."""

from stoa.application import Principal, ToolAnnotations
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.domain.access.caller_limits import CallerLimits
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.metering.event import Status
from stoa.testing import UNLIMITED, GatewayHarness, InMemoryInvocationObserver, InMemoryRefusalWatcher

ANN = Principal.of("ann", tenant="acme", roles=["viewer"])


def harness(**options) -> GatewayHarness:
    made = GatewayHarness(principals={"token": ANN}, **options)

    @made.gateway.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> int:
        return a + b

    return made


async def test_harness_shows_what_a_call_recorded():
    world = harness()
    outcome = await world.call("add", {"a": 1, "b": 2}, token="token")
    assert outcome.result.structured == 3
    (event,) = world.events
    assert (event.tenant, event.user_id, event.tool, event.status) == ("acme", "ann", "add", Status.SUCCESS)
    assert event.timestamp == world.clock.now()
    assert [seen.name for seen, _ in world.observer.seen] == ["add"]


async def test_harness_verifies_tokens():
    world = harness()
    for token in (None, "forged"):
        assert (await world.call("add", {"a": 1, "b": 2}, token=token)).status is Status.UNAUTHORIZED


async def test_harness_gives_the_same_ids_and_times_each_time():
    first, second = harness(), harness()
    for world in (first, second):
        await world.call("add", {"a": 1, "b": 2}, token="token")
        world.clock.advance(60)
        await world.call("add", {"a": 1, "b": "x"}, token="token")
    assert first.events == second.events


async def test_harness_limits_callers_only_as_a_test_says():
    once = CallerLimits(roles={"viewer": RateLimit(requests_per_minute=1, burst=1)})
    for limits, status in ((UNLIMITED, Status.SUCCESS), (once, Status.RATE_LIMITED)):
        world = harness(limits=limits)
        await world.call("add", {"a": 1, "b": 2}, token="token")
        assert (await world.call("add", {"a": 1, "b": 2}, token="token")).status is status


async def test_harness_forgets_and_takes_parts_of_its_own():
    sink, observer, watcher = InMemoryMeteringSink(), InMemoryInvocationObserver(), InMemoryRefusalWatcher()
    world = harness(sink=sink, observers=[observer], refusal_watchers=[watcher])
    await world.call("add", {"a": 1, "b": 2}, token="token")
    assert list(sink.events()) == world.events != []
    world.forget()
    assert (world.events, world.observer.seen, len(observer.seen)) == ([], [], 1)
