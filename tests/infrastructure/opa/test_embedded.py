"""Policies in this process: what is kept, what is replaced, and what policies that misbehave do."""

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.opa import bundles
from tests.infrastructure.opa.bundles import bundle_file, module, pack
from tests.strategies import policy_queries

from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import InvalidInput, PolicyUnavailable
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.policy.decision import Obligations, PolicyQuery
from stoa.infrastructure.opa import wasm as wasm_module
from stoa.infrastructure.opa.bundle import read_bundle
from stoa.infrastructure.opa.embedded import DEFAULT_BUNDLE, OpaWasmPolicyEngine

CALLER = Principal.of("ada", tenant="acme", roles=["viewer"])
TOOL = Tool(name="ping", tenant="acme", binding=LocalBinding(function="ping"))
QUERY = PolicyQuery(CALLER, TOOL, {}, "mcp")


def deciding(tmp_path, value, **rest):
    return bundle_file(tmp_path / "bundle.tar.gz", module(result=[{"result": value}], **rest))


async def test_an_allowing_decision_carries_its_obligations(tmp_path):
    limit = {"requestsPerMinute": 6, "burst": 2}
    obligations = {"redact": ["/password"], "limit": limit, "confirm": "Really?"}
    path = deciding(tmp_path, {"allow": True, "reason": "fine", "rules": ["r"], "obligations": obligations})
    decision = await OpaWasmPolicyEngine(path).decide(QUERY)
    assert (decision.is_allowed, decision.reason, decision.rules) == (True, "fine", ("r",))
    assert decision.obligations == Obligations(("/password",), RateLimit(requests_per_minute=6, burst=2), "Really?")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        [],
        "allow",
        {},
        {"allow": 1},
        {"allow": "true"},
        {"allow": True, "reason": 7},
        {"allow": True, "rules": "r"},
        {"allow": True, "rules": [1]},
        {"allow": True, "missing_scopes": {}},
        {"allow": True, "max_tokens": 0},
        {"allow": True, "max_tokens": "many"},
        {"allow": True, "obligations": []},
        {"allow": True, "obligations": {"encrypt": True}},
        {"allow": True, "obligations": {"redact": ["password"]}},
        {"allow": True, "obligations": {"limit": {"requestsPerMinute": 0}}},
        {"allow": True, "obligations": {"confirm": 1}},
    ],
)
async def test_an_answer_of_another_shape_is_no_decision_and_one_log_line(tmp_path, value, caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(PolicyUnavailable):
        await OpaWasmPolicyEngine(deciding(tmp_path, value)).decide(QUERY)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("value", [None, {}, "all", [True, "x"], [-1], [1]])
async def test_a_list_of_another_shape_shows_nothing(tmp_path, value):
    with pytest.raises(PolicyUnavailable):
        await OpaWasmPolicyEngine(deciding(tmp_path, value)).visible(CALLER, [TOOL], "mcp")


async def test_an_undefined_decision_is_no_decision(tmp_path):
    with pytest.raises(PolicyUnavailable):
        await OpaWasmPolicyEngine(bundle_file(tmp_path / "b.tar.gz", module(result=[]))).decide(QUERY)


@pytest.mark.parametrize("body", [bundles.TRAPS, bundles.LOOPS, bundles.ABORTS])
async def test_a_policy_that_breaks_refuses_in_bounded_time_with_one_log_line(tmp_path, body, caplog):
    engine = OpaWasmPolicyEngine(bundle_file(tmp_path / "b.tar.gz", module(body, result="oh no")))
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.ERROR), pytest.raises(PolicyUnavailable):
            await engine.decide(QUERY)
        assert len(caplog.records) == 1
    if body == bundles.ABORTS:
        assert "oh no" in caplog.text


@pytest.mark.parametrize(
    ("wasm", "says"),
    [
        (b"", "not a WebAssembly module"),
        (b"\0asm\1\0\0\0", "not a policy"),
        (module(builtins={"http.send": 0, "time.now_ns": 1}), "http.send, time.now_ns"),
        (module(entrypoints={"stoa/authz/decision": 0}), "stoa/visibility/visible"),
        (module(entrypoints=[]), "not a policy"),
        (module(entrypoints={"stoa/authz/decision": "zero"}), "not a policy"),
    ],
)
def test_a_bundle_that_cannot_be_used_says_why(tmp_path, wasm, says):
    with pytest.raises(InvalidInput, match=says):
        OpaWasmPolicyEngine(bundle_file(tmp_path / "b.tar.gz", wasm))


def test_a_bundle_without_policy_or_with_data_that_is_no_object_says_what_to_do(tmp_path):
    with pytest.raises(InvalidInput, match=r"missing\.tar\.gz: cannot be read"):
        OpaWasmPolicyEngine(tmp_path / "missing.tar.gz")
    with pytest.raises(InvalidInput, match="opa build -t wasm"):
        OpaWasmPolicyEngine(pack(tmp_path / "sources.tar.gz", {"authz.rego": b"package stoa.authz"}))
    with pytest.raises(InvalidInput, match=r"data\.json must be an object"):
        OpaWasmPolicyEngine(pack(tmp_path / "data.tar.gz", {"policy.wasm": module(), "data.json": b"[]"}))


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_whatever_is_in_the_file_it_is_read_or_refused(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("junk") / "b.tar.gz"
    path.write_bytes(junk)
    with pytest.raises(InvalidInput, match="not a policy bundle"):
        OpaWasmPolicyEngine(path)


def test_the_bundle_that_ships_has_the_digest_beside_it():
    digest = DEFAULT_BUNDLE.with_name("default_bundle.tar.gz.sha256").read_text().split()[0]
    assert digest == read_bundle(DEFAULT_BUNDLE).digest


async def test_a_long_list_is_whole_though_others_empty_the_cache_meanwhile():
    engine = OpaWasmPolicyEngine()
    # More than one batch, between which others have their turn.
    some = [TOOL.model_copy(update={"name": f"t{number}"}) for number in range(1010)]
    await engine.visible(CALLER, some[:3], "mcp")
    listing = asyncio.create_task(engine.visible(CALLER, some, "mcp"))
    await asyncio.sleep(0)
    assert not listing.done()
    engine._loaded.visible.clear()
    assert list(await listing) == some


async def test_only_what_the_policy_calls_cacheable_is_kept(tmp_path):
    for is_cacheable, is_kept in ((True, True), (False, False), ("yes", False)):
        engine = OpaWasmPolicyEngine(deciding(tmp_path, {"allow": True, "cacheable": is_cacheable}))
        first = await engine.decide(QUERY)
        again = await engine.decide(QUERY)
        assert again == first
        assert (again is first) is is_kept, "each evaluation makes a Decision of its own"


async def test_another_bundle_replaces_the_policy_and_what_it_decided(tmp_path):
    path = deciding(tmp_path, {"allow": True, "cacheable": True})
    engine = OpaWasmPolicyEngine(path)
    assert (await engine.decide(QUERY)).is_allowed
    deciding(tmp_path, {"allow": False, "cacheable": True})
    assert (await engine.decide(QUERY)).is_allowed
    assert await engine.reload()
    assert not (await engine.decide(QUERY)).is_allowed


async def test_the_file_is_watched(tmp_path):
    engine = OpaWasmPolicyEngine(deciding(tmp_path, {"allow": True}))
    before = engine.health().detail
    watching = asyncio.create_task(engine.watch())
    try:
        async with asyncio.timeout(30):
            while engine.health().detail == before:
                deciding(tmp_path, {"allow": False})  # again and again: when the watch has begun is not known
                await asyncio.sleep(0.05)
    finally:
        watching.cancel()
    assert not (await engine.decide(QUERY)).is_allowed


async def test_a_bundle_that_cannot_be_used_leaves_the_last_good_one(tmp_path):
    path = deciding(tmp_path, {"allow": True})
    engine = OpaWasmPolicyEngine(path)
    before = engine.health()
    path.write_bytes(b"half a bun")
    assert not await engine.reload()
    assert (await engine.decide(QUERY)).is_allowed
    assert engine.health().is_ready
    assert engine.health().detail == before.detail
    assert str(path) in engine.health().findings[0]
    deciding(tmp_path, {"allow": False})
    assert await engine.reload()
    assert engine.health().findings == ()


@pytest.fixture(scope="module")
def default_policy():
    return OpaWasmPolicyEngine()


@given(query=policy_queries())
async def test_the_default_policy_answers_whatever_the_arguments_are(default_policy, query):
    assert (await default_policy.decide(query)).rules


async def test_arguments_that_are_no_json_and_inputs_too_large_are_refused(monkeypatch):
    engine = OpaWasmPolicyEngine()
    with pytest.raises(PolicyUnavailable):
        await engine.decide(PolicyQuery(CALLER, TOOL, {"half": "\ud800"}, "library"))
    with pytest.raises(PolicyUnavailable):
        await engine.decide(PolicyQuery(CALLER, TOOL, {"big": "x" * wasm_module.MAX_INPUT_BYTES}, "library"))
    assert (await engine.decide(QUERY)).is_allowed


def test_the_deadline_of_a_decision_is_cpu_time_and_not_that_of_a_busy_machine():
    readings = iter([0.0, 0.0, 0.004, 0.009, 0.011, 0.011, 0.012, 0.030, 0.030])
    ticks_at, seen = [], []

    class Engine:
        def increment_epoch(self):
            ticks_at.append(seen[-1])

    def spent():
        seen.append(next(readings))
        return seen[-1]

    ticker = wasm_module._Ticker(Engine(), spent=spent, sleep=lambda _: None)
    ticker._wanted.set()
    with pytest.raises(StopIteration):
        ticker._count()
    assert ticks_at == [0.0, 0.011, 0.030]
