"""Where a served gateway gets its prices and budgets from."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.interfaces.served import serving

from stoa.application.metering.budgets import Budgets
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BudgetExhausted, InvalidInput
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.domain.metering.price_list import PriceList
from stoa.interfaces.settings import Settings

ALPHA = TenantId("alpha")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def written(path: Path, kind: str, **spec: Any) -> Path:
    frame = {"apiVersion": "gostoa.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}}
    path.write_text(json.dumps({**frame, "spec": spec}), encoding="utf-8")
    return path


async def test_without_files_the_prices_are_those_that_ship_and_nobody_has_a_budget(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert await served.container.get(PriceList) == PriceList()
        budgets = await served.container.get(Budgets)
        assert not budgets.apply_to(ALPHA)


async def test_the_files_that_the_settings_name_are_read(tmp_path: Path) -> None:
    prices = written(tmp_path / "prices.json", "PriceList", versions=[{"base": 0.25}])
    budgets = written(tmp_path / "budgets.json", "Budgets", tenants={"alpha": {"monthly": "0.5"}})
    async with serving(tmp_path, prices_path=prices, budgets_path=budgets) as served:
        assert (await served.container.get(PriceList)).versions[-1].base == Decimal("0.25")
        (status,) = await (await served.container.get(Budgets)).status(ALPHA)
        assert (status.account.limit, status.spent) == (500_000, 0)


async def test_a_bad_file_stops_the_start_and_is_named(tmp_path: Path) -> None:
    prices = written(tmp_path / "prices.json", "PriceList", versions=[{"price": 1}])
    with pytest.raises(InvalidInput, match=r"PRICES_PATH=.*prices\.json: spec\.versions\.0\.price: no such field"):
        async with serving(tmp_path, prices_path=prices):
            pass
    with pytest.raises(InvalidInput, match=r"none\.yaml: cannot be read"):
        async with serving(tmp_path, budgets_path=tmp_path / "none.yaml"):
            pass


async def test_a_process_of_its_own_begins_with_what_the_month_has_cost_so_far(tmp_path: Path) -> None:
    budgets = written(tmp_path / "budgets.json", "Budgets", tenants={"alpha": {"monthly": "0.01"}})
    async with serving(tmp_path) as served:
        now = served.clock.now()
        for number, moment in enumerate((now, now, now - timedelta(days=1))):
            event = MeteringEvent(
                event_id=f"e-{number}", timestamp=moment, tenant="alpha", user_id="ann", tool="dig", latency_ms=1,
                status=Status.SUCCESS, cost_units=MicroUnits(4_000),
            )  # fmt: skip
            await served.metering.sink.record(event, is_reserved=False)
    async with serving(tmp_path, budgets_path=budgets) as served:
        kept = await served.container.get(Budgets)
        (status,) = await kept.status(ALPHA)
        assert (status.spent, status.percent) == (8_000, 80)
        with pytest.raises(BudgetExhausted):
            await kept.reserve(ALPHA, "app", MicroUnits(2_001))


async def test_gateways_with_one_redis_share_what_is_spent(tmp_path: Path, in_process_redis: str) -> None:
    budgets = written(tmp_path / "budgets.json", "Budgets", tenants={"alpha": {"monthly": "0.01"}})
    common: dict[str, Any] = {"budgets_path": budgets, "redis_url": in_process_redis}
    async with serving(tmp_path / "a", **common) as one, serving(tmp_path / "b", **common) as other:
        here, there = await one.container.get(Budgets), await other.container.get(Budgets)
        reservation = await here.reserve(ALPHA, "app", MicroUnits(10_000))
        assert reservation is not None
        with pytest.raises(BudgetExhausted):
            await there.reserve(ALPHA, "app", MicroUnits(1))
        here.settle(reservation, MicroUnits(3_000))
        assert (await here.status(ALPHA))[0].spent == 3_000
        assert (await there.status(ALPHA))[0].spent == 3_000
