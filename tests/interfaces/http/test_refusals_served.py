"""Refusals of a gateway as it is served: each stands in /metrics by its reason and in the log, and no token does."""

import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.interfaces.doors import send
from tests.interfaces.served import Served, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    async with serving(tmp_path, trusted_proxies=("127.0.0.1",)) as served:
        yield served


async def counts(served: Served) -> dict[str, float]:
    text = (await send(served.app, "GET", "/metrics")).body.decode()
    lines = [line for line in text.splitlines() if line.startswith("stoa_refusals_total{") and line[-4:] != " 0.0"]
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}


async def _tools(served: Served, token: str | None, **headers: str) -> int:
    pairs = {"x-forwarded-for": "192.0.2.7"} | headers
    if token is not None:
        pairs["authorization"] = f"Bearer {token}"
    return (await send(served.app, "GET", "/mcp/v1/tools", headers=pairs)).status


async def test_refusals_are_in_the_metrics_and_in_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    good = served.token()
    head, _, signature = good.split(".")
    forged = f"{head}.{served.token('viewer').split('.')[1]}.{signature}"
    assert await _tools(served, good) == 200
    assert await counts(served) == {}
    for token in (None, "hunter2", forged):
        assert await _tools(served, token) == 401
    assert await _tools(served, good, host="evil.example") == 421
    assert await _tools(served, good, origin="https://evil.example") == 403
    short = served.token(lifetime=60)
    served.clock.advance(61)
    assert await _tools(served, short) == 401
    assert await counts(served) == {
        "missing_token": 1.0,
        "malformed_token": 1.0,
        "bad_signature": 1.0,
        "host": 1.0,
        "origin": 1.0,
        "expired": 1.0,
    }
    lines = [vars(record) for record in caplog.records if record.name.endswith("refusal_log")]
    assert {line["address"] for line in lines} == {"192.0.2.7"}
    assert {line["reason"]: line["client"] for line in lines} == {
        "missing_token": None,
        "malformed_token": None,
        "bad_signature": None,
        "host": None,
        "origin": None,
        "expired": "stoa-cli",
    }
    for secret in ("hunter2", good, forged, short):
        assert secret not in str(lines)
