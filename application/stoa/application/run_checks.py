"""Checks of a whole configuration: each checks one part, in bounded time, and reports its result and the remedy.

Above is `stoa doctor`; the checks themselves know the adapters and are made where everything is wired.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stoa.domain.errors import StoaError

TIMEOUT_SECONDS = 20.0

_log = logging.getLogger(__name__)


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    """It works, and is probably not intended."""
    FAIL = "fail"
    """The gateway, or its clients, cannot work so."""
    SKIP = "skip"
    """Not configured, or unknown because of an earlier failure."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    verdict: Verdict
    what: str
    """The subject of the check, in a few words: `token endpoint`."""
    reason: str
    remedy: str = ""
    """The change to make; empty if none is needed."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    """The part: `redis`."""
    run: Callable[[], Awaitable[Sequence[CheckResult]]]
    timeout_seconds: float = TIMEOUT_SECONDS


async def run_checks(checks: Sequence[Check], told: Callable[[str], None]) -> AsyncIterator[tuple[str, CheckResult]]:
    """Yields the results in order; `told` is called with the name of each check before it runs. Never raises: an
    exception of a check is its failure."""
    for check in checks:
        told(check.name)
        for result in await _bounded(check):
            yield check.name, result


async def _bounded(check: Check) -> Sequence[CheckResult]:
    try:
        async with asyncio.timeout(check.timeout_seconds):
            return await check.run()
    except TimeoutError:
        problem = f"no result within {check.timeout_seconds:g} s"
    except StoaError as refused:
        problem = refused.message
    except Exception as defect:  # noqa: BLE001  # one broken check must not hide what the others find
        _log.debug("the check of %s failed unexpectedly", check.name, exc_info=True)
        problem = f"the check failed unexpectedly ({type(defect).__name__}); LOG_LEVEL=debug shows where"
    return [CheckResult(Verdict.FAIL, check.name, problem, "mend what is said, and run it again")]
