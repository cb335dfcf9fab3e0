"""Checks run one after the other in bounded time, and one that breaks hides none of the others."""

import asyncio

from stoa.application.run_checks import Check, CheckResult, Verdict, run_checks
from stoa.domain.errors import InvalidInput

FINE = CheckResult(Verdict.OK, "part", "fine")


async def _fine():
    return [FINE]


async def _raises():
    raise InvalidInput("SETTING: write it so")


async def _breaks():
    raise KeyError("a secret")


async def _hangs():
    await asyncio.Event().wait()


async def test_checks_that_raise_break_or_hang_fail_and_the_others_run():
    told: list[str] = []
    checks = [Check("a", _raises), Check("b", _breaks), Check("c", _hangs, 0.001), Check("d", _fine)]
    results = [one async for one in run_checks(checks, told.append)]
    assert told == ["a", "b", "c", "d"]
    assert [(part, one.verdict) for part, one in results] == [
        ("a", Verdict.FAIL),
        ("b", Verdict.FAIL),
        ("c", Verdict.FAIL),
        ("d", Verdict.OK),
    ]
    assert results[0][1].reason == "SETTING: write it so"
    assert "a secret" not in results[1][1].reason
    assert results[2][1].reason == "no result within 0.001 s"
