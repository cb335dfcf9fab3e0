"""Strangers at the doors of the gateway as it is served: limited before anything is read, counted exactly, and no
burden to others."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.interfaces.doors import Answer, modern, send
from tests.interfaces.served import Served, serving

from stoa.interfaces.settings import Settings

LIMITS = {"address": {"requestsPerMinute": 60, "burst": 10}, "all": {"requestsPerMinute": 600, "burst": 100}}
BATCH = [{"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": f"odd {n}"}} for n in range(50)]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    async with serving(tmp_path, stoa_stranger_limits=LIMITS, trusted_proxies=("127.0.0.1",)) as served:
        yield served


async def _mcp(served: Served, message: Any, token: str | None = None, said: str = "192.0.2.1", **rest: Any) -> Answer:
    headers = {"content-type": "application/json", "x-forwarded-for": said}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return await send(served.app, "POST", "/mcp", headers=headers, body=json.dumps(message).encode(), **rest)


async def _rest(served: Served, path: str, token: str | None = None, said: str = "192.0.2.1") -> Answer:
    headers = {"x-forwarded-for": said} | ({} if token is None else {"authorization": f"Bearer {token}"})
    return await send(served.app, "POST" if path.endswith("invoke") else "GET", f"/mcp/v1{path}", headers=headers)


async def _counted(served: Served) -> dict[tuple[str, str, str], int]:
    await served.gateway.flush_refusals()
    assert {(event.tenant, event.user_id, event.tool) for event in served.events} == {("-", "-", "(unknown)")}
    return {
        (event.metadata["door"], event.status.value, event.metadata["error"]): event.calls for event in served.events
    }


async def test_a_strangers_batch_is_one_answer_and_counts_its_messages(served: Served) -> None:
    first, second = await _mcp(served, BATCH), await _mcp(served, BATCH)
    assert (first.status, second.status) == (401, 429)
    assert first.json()["error"]["data"]["code"] == "not_authenticated"
    assert second.json()["error"]["data"]["code"] == "rate_limited"
    assert second.header("retry-after") == "1"
    assert await _counted(served) == {
        ("mcp", "unauthorized", "not_authenticated"): 50, ("mcp", "rate_limited", "rate_limited"): 1,
    }  # fmt: skip


async def test_strangers_are_limited_over_all_doors_together_and_every_request_is_counted(served: Served) -> None:
    paths = ("/tools/odd/invoke", "/tools", "/usage", "/")
    statuses = [(await _rest(served, paths[number % 4])).status for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert (await _mcp(served, BATCH[0])).status == 429
    refused = await send(served.app, "GET", "/mcp", headers={"x-forwarded-for": "192.0.2.1"})
    assert (refused.status, refused.header("retry-after")) == (429, "1")
    assert await _counted(served) == {
        ("rest", "unauthorized", "not_authenticated"): 10,
        ("rest", "rate_limited", "rate_limited"): 2,
        ("mcp", "rate_limited", "rate_limited"): 2,
    }


async def test_a_limited_strangers_body_is_not_read(served: Served) -> None:
    await _mcp(served, BATCH)
    read: list[str] = []

    async def receive() -> Any:
        read.append("body")
        raise AssertionError("the body was read")

    said: list[Any] = []

    async def emit(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"localhost"), (b"x-forwarded-for", b"192.0.2.1"), (b"authorization", b"Bearer bad")],
    }  # fmt: skip
    while not said or said[0]["status"] != 429:  # new tokens are tried a little longer
        said.clear()
        served.gateway.strangers._attempts.spend("192.0.2.1", 50, served.clock.monotonic_ns() // 1000)
        await served.app(scope, receive, emit)
    assert read == []


async def test_strangers_at_one_address_lock_out_neither_known_tokens_there_nor_anybody_elsewhere(
    served: Served,
) -> None:
    known, new = served.token("viewer"), served.token("devops")
    assert (await _rest(served, "/tools", known)).status == 200
    for _ in range(5):
        await _mcp(served, BATCH, "bad")
    assert (await _mcp(served, BATCH)).status == 429
    assert (await _rest(served, "/tools", known)).status == 200
    assert (await _rest(served, "/tools", new)).status == 200
    assert (await _rest(served, "/tools", said="192.0.2.2")).status == 401


async def test_a_batch_of_an_authenticated_caller_counts_its_free_requests_too(tmp_path: Path) -> None:
    limits = {"viewer": {"requestsPerMinute": 60, "burst": 2}}
    async with serving(tmp_path, stoa_caller_limits=limits) as served:
        token = served.token("viewer")
        pings = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(50)]
        pings.append({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        answers = (await _mcp(served, pings[1:], token)).json()
        assert [answer.get("error", {}).get("code") for answer in answers] == [None] * 10 + [4290] * 39
        assert {answer["id"] for answer in answers} == set(range(1, 50))
        assert "result" in (await _mcp(served, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, token)).json()


async def test_a_flood_of_refused_calls_takes_no_room_of_admitted_ones_and_is_counted(tmp_path: Path) -> None:
    limits = {"viewer": {"requestsPerMinute": 1, "burst": 1}}
    async with serving(tmp_path, stoa_caller_limits=limits, metering_max_bytes=16 * 1024**2) as served:
        before = served.metering.probes[0].health().detail
        for number in range(1200):
            await served.call(f"odd-{number}", token=served.token("viewer"))
        assert served.metering.probes[0].health().detail == before
        assert len(served.events) == 1000
        await served.gateway.flush_refusals()
        assert sum(event.calls for event in served.events) == 1200
        assert {event.tool for event in served.events} == {"(unknown)"}
        assert {event.tenant for event in served.events} == {"alpha"}
    audit = [json.loads(line) for line in (served.settings.data_dir / "audit.jsonl").read_text().splitlines()]
    assert sum(line.get("calls", 1) for line in audit) == 1200
    assert len({line["event_id"] for line in audit}) == len(audit)
    assert {line["asked"] for line in audit} >= {"odd-0", "odd-999"}


async def test_what_strangers_did_is_recorded_when_the_gateway_stops(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await _mcp(served, modern("tools/call", {"name": "x", "arguments": {}})[0])
        assert served.events == []
        log = served.metering.log
    assert [event.calls for event in log.events()] == [1]


def test_strangers_limits_can_be_set_one_by_one_and_are_off_with_all_limits() -> None:
    given = Settings.model_validate({"stoa_stranger_limits": {"address": {"requestsPerMinute": 5, "burst": 2}}})
    assert given.stranger_limits is not None
    assert (given.stranger_limits.address.burst, given.stranger_limits.everyone.burst) == (2, 1000)
    assert Settings.model_validate({"rate_limit_enabled": False}).stranger_limits is None
    with pytest.raises(ValueError, match="address"):
        Settings.model_validate({"stoa_stranger_limits": {"*": {"requestsPerMinute": 5}}})


async def test_tokens_at_the_readiness_probe_are_limited_like_others_and_the_probe_is_answered(served: Served) -> None:
    verified: list[str] = []
    original = served.identity.verifier.verify

    async def counted(token: str) -> Any:
        verified.append(token)
        return await original(token)

    served.gateway.callers._verifier.verify = counted  # type: ignore[method-assign]
    admin = served.token("cpi-admin")
    assert (await served.get("/ready", admin)).json()["parts"]["metering"]["detail"]
    for _ in range(200):
        assert (await served.get("/ready", "bad")).status == 200
    assert verified == [admin] + ["bad"] * 60
    assert (await served.get("/ready", admin)).json()["parts"]["metering"]["detail"]
