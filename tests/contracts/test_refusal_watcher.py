"""The laws of RefusalWatcher, for every adapter."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.application.admission.refusals import Refusals
from stoa.application.ports import RefusalWatcher
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.policy.refusal import Refusal
from stoa.infrastructure.observability import refusal_log as module
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.infrastructure.observability.refusal_log import RefusalLog
from stoa.testing.clock import ManualClock
from stoa.testing.refusal_watcher import InMemoryRefusalWatcher

ADAPTERS: dict[str, Callable[[], RefusalWatcher]] = {
    "memory": InMemoryRefusalWatcher,
    "prometheus": PrometheusObserver,
    "log": lambda: RefusalLog(ManualClock()),
}
TEXT = st.none() | st.text(max_size=20)
REFUSALS = st.builds(
    Refusal,
    st.sampled_from(RefusalReason),
    st.sampled_from(["mcp", "rest", "http"]),
    st.sampled_from([0, 401, 429, 503]),
    TEXT,
    TEXT,
    st.integers(1, 50),
)


@pytest.mark.parametrize("name", list(ADAPTERS))
async def test_refusals_of_any_kind_are_taken(name: str) -> None:
    watcher = ADAPTERS[name]()
    for reason in RefusalReason:
        watcher.told(Refusal(reason, "http", 400, "a\nb", "::1"))


@given(st.lists(REFUSALS, max_size=40))
async def test_refusals_counted_are_those_that_were_told(refusals: list[Refusal]) -> None:
    watcher = PrometheusObserver()
    for one in refusals:
        watcher.told(one)
    shown = watcher.exposition().decode()
    for reason in RefusalReason:
        expected = float(sum(one.calls for one in refusals if one.reason is reason))
        assert f'stoa_refusals_total{{reason="{reason.value}"}} {expected}' in shown


@given(st.lists(st.tuples(REFUSALS, st.floats(0, 90)), max_size=80))
async def test_refusals_logged_and_suppressed_are_all_that_were_told(told: list[tuple[Refusal, float]]) -> None:
    clock = ManualClock()
    log = RefusalLog(clock, lines_a_minute=2)
    lines: list[dict[str, object]] = []
    with _heard(lines):
        for one, pause in told:
            log.told(one)
            clock.advance(pause)
        log.close()
    shown = sum(int(str(line.get("suppressed", line.get("calls")))) for line in lines)
    assert shown == sum(one.calls for one, _ in told)


@contextmanager
def _heard(lines: list[dict[str, object]]) -> Iterator[None]:
    """The fields of each line that the log writes."""

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(vars(record))

    logger, hearing = logging.getLogger(module.__name__), Hearing()
    logger.addHandler(hearing)
    try:
        yield
    finally:
        logger.removeHandler(hearing)


class _Broken(RefusalWatcher):
    def told(self, refusal: Refusal) -> None:
        raise OSError("full")


def test_refusals_reach_the_others_when_one_watcher_is_broken(caplog: pytest.LogCaptureFixture) -> None:
    seen = InMemoryRefusalWatcher()
    refusal = Refusal(RefusalReason.HOST, "http", 421)
    Refusals([_Broken(), seen]).tell(refusal)
    assert seen.seen == [refusal]
    assert "a watcher of refusals failed" in caplog.text
