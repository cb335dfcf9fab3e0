"""The policy server: what it does not answer properly and in time is refused, and readiness says so."""

import socket

import pytest
from tests.infrastructure.opa.peer import opa_peer

from stoa.domain.access.identity import Principal
from stoa.domain.errors import PolicyUnavailable
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.policy.decision import PolicyQuery
from stoa.infrastructure.opa.sidecar import FAILURES_BEFORE_PAUSE, PAUSE_SECONDS, OpaServerPolicyEngine
from stoa.testing.clock import ManualClock

CALLER = Principal.of("ada", tenant="acme", roles=["viewer"])
TOOL = Tool(name="ping", tenant="acme", binding=LocalBinding(function="ping"))
QUERY = PolicyQuery(CALLER, TOOL, {}, "mcp")


@pytest.fixture(scope="module")
def shared_peer():
    with opa_peer() as peer:
        yield peer


@pytest.fixture
def peer(shared_peer):
    shared_peer.answer = None
    return shared_peer


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def engine(peer, clock):
    engine = OpaServerPolicyEngine(peer.url, clock)
    yield engine
    await engine.close()


async def test_the_server_decides(engine):
    decision = await engine.decide(QUERY)
    assert (decision.is_allowed, decision.rules) == (True, ("scope-grants-access",))
    assert await engine.visible(CALLER, [TOOL], "mcp") == [TOOL]


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"{}"),
        (200, b"[]"),
        (200, b"not json"),
        (200, b'{"result": true}'),
        (200, b'{"result": {"allow": "yes"}}'),
        (200, b" " * 5_000_000),
        (302, b'{"result": {"allow": true}}'),
        (500, b'{"result": {"allow": true}}'),
    ],
)
async def test_what_is_not_a_decision_is_refused_and_makes_the_gateway_unready(engine, peer, answer):
    peer.answer = answer
    with pytest.raises(PolicyUnavailable):
        await engine.decide(QUERY)
    await engine.probe()
    assert not engine.health().is_ready
    peer.answer = None
    await engine.probe()
    assert engine.health().is_ready


async def test_a_server_that_is_not_there_is_refused_and_named_in_the_health(clock):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        engine = OpaServerPolicyEngine(url, clock)
        assert not engine.health().is_ready
        with pytest.raises(PolicyUnavailable) as refused:
            await engine.decide(QUERY)
        await engine.probe()
        await engine.close()
    assert url not in refused.value.message
    assert not engine.health().is_ready
    assert url in engine.health().detail


async def test_a_server_that_does_not_answer_is_given_up_after_the_deadline(clock):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        engine = OpaServerPolicyEngine(f"http://127.0.0.1:{silent.getsockname()[1]}", clock, timeout_seconds=0.05)
        with pytest.raises(PolicyUnavailable):
            await engine.decide(QUERY)
        await engine.close()


async def test_after_failures_in_a_row_the_server_has_a_moment_of_peace(engine, peer, clock):
    peer.answer = (500, b"")
    for _ in range(FAILURES_BEFORE_PAUSE):
        with pytest.raises(PolicyUnavailable):
            await engine.decide(QUERY)
    peer.answer, before = None, peer.asked
    with pytest.raises(PolicyUnavailable):
        await engine.decide(QUERY)
    assert peer.asked == before
    clock.advance(PAUSE_SECONDS)
    assert (await engine.decide(QUERY)).is_allowed
