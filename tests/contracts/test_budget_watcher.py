"""What BudgetWatchers do with what they are told."""

from stoa.domain.access.identity import TenantId
from stoa.domain.metering.budget import Account, Crossing, Month, Owner
from stoa.domain.metering.money import MicroUnits
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.testing.budget_watcher import InMemoryBudgetWatcher

ACCOUNT = Account(Owner(TenantId("acme"), "ci-of-acme"), Month(2026, 11), MicroUnits(100))
TOLD = [
    Crossing(ACCOUNT, 80, MicroUnits(81)),
    Crossing(ACCOUNT, 100, MicroUnits(100)),
    Crossing(ACCOUNT, 80, MicroUnits(80)),
]


def test_in_memory_they_are_kept_in_order() -> None:
    watcher = InMemoryBudgetWatcher()
    for crossing in TOLD:
        watcher.crossed(crossing)
    assert watcher.seen == TOLD


def test_as_metrics_they_are_counted_by_level_and_name_nobody() -> None:
    watcher = PrometheusObserver()
    assert b'stoa_budget_warnings_total{level="80"} 0.0' in watcher.exposition()
    for crossing in TOLD:
        watcher.crossed(crossing)
    metrics = watcher.exposition()
    assert b'stoa_budget_warnings_total{level="80"} 2.0' in metrics
    assert b'stoa_budget_warnings_total{level="100"} 1.0' in metrics
    assert b"acme" not in metrics
