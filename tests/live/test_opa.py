"""The policy as a real OPA decides it, and the bundle as a real opa builds it."""

import hashlib
import subprocess

import pytest
import pytest_asyncio
from hypothesis import given, settings
from tests.live.servers import SERVICES, Opa, running
from tests.strategies import policy_queries

from stoa.application.memory.clock import SystemClock
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.domain.access.identity import Principal
from stoa.domain.errors import PolicyUnavailable
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.policy.decision import PolicyQuery
from stoa.infrastructure.opa.documents import DECISION, VISIBLE
from stoa.infrastructure.opa.embedded import DEFAULT_BUNDLE, OpaWasmPolicyEngine
from stoa.infrastructure.opa.sidecar import OpaServerPolicyEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOL = Tool(name="ping", tenant="acme", binding=LocalBinding(function="ping"))
QUERY = PolicyQuery(Principal.of("ada", tenant="acme", roles=["viewer"]), TOOL, {}, "mcp")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines(opa):
    server = OpaServerPolicyEngine(opa.url, SystemClock(), timeout_seconds=30.0)  # some of so many are late
    yield [server, OpaWasmPolicyEngine()]
    await server.close()


@pytest.mark.timeout(600)
@given(policy_queries())
@settings(max_examples=10_000)
async def test_embedded_server_and_rules_agree_on_ten_thousand_queries(engines, query):
    rules = RulesPolicyEngine()
    expected = await rules.decide(query)
    shown = await rules.visible(query.principal, [query.operation], query.door)
    for engine in engines:
        assert await engine.decide(query) == expected
        assert await engine.visible(query.principal, [query.operation], query.door) == shown


async def test_the_bundle_that_ships_is_what_opa_builds_from_the_sources(opa, tmp_path):
    built = tmp_path / "bundle.tar.gz"
    build = [str(SERVICES / "opa" / "build.sh"), str(Opa.policies), str(built), DECISION, VISIBLE]
    done = subprocess.run(build, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shipped, fresh = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (DEFAULT_BUNDLE, built))
    assert shipped == fresh, "run: make policy"


async def test_a_server_that_goes_away_refuses_and_one_that_comes_back_decides(tmp_path):
    with running(Opa, tmp_path) as server:
        engine = OpaServerPolicyEngine(server.url, SystemClock())
        try:
            assert (await engine.decide(QUERY)).is_allowed
            server.kill()
            with pytest.raises(PolicyUnavailable):
                await engine.decide(QUERY)
            await engine.probe()
            assert not engine.health().is_ready
            server.start()
            assert (await engine.decide(QUERY)).is_allowed
            await engine.probe()
            assert engine.health().is_ready
        finally:
            await engine.close()


async def test_a_server_without_the_policy_is_not_ready(tmp_path):
    class Empty(Opa):
        def command(self) -> list[str]:
            return [str(SERVICES / "opa" / "start.sh"), str(self.port)]

    with running(Empty, tmp_path) as server:
        engine = OpaServerPolicyEngine(server.url, SystemClock())
        try:
            await engine.probe()
            assert "undefined" in engine.health().detail
            with pytest.raises(PolicyUnavailable):
                await engine.decide(QUERY)
        finally:
            await engine.close()
