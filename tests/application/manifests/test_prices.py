"""Price lists and budgets as operators write them."""

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from tests.strategies import price_lists

from stoa.application.manifests.prices import parse_budgets, parse_price_list
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput
from stoa.domain.metering.budget import Budget
from stoa.domain.metering.money import MicroUnits, from_decimal
from stoa.domain.metering.price_list import PriceList, Rates, RatesByOperation
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.infrastructure.files.manifests import DEFAULT_PRICES_FILE, read_document

PAGE = Path(__file__).parents[3] / "docs" / "prices-and-budgets.md"


def document(kind: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def example(tmp_path: Path, number: int) -> dict[str, Any]:
    file = tmp_path / "example.yaml"
    file.write_text(re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[number])
    return read_document(file)


def test_the_file_that_ships_says_what_the_default_list_says() -> None:
    assert parse_price_list(read_document(DEFAULT_PRICES_FILE), "x") == PriceList()


def test_the_documented_prices_are_charged_as_the_page_says(tmp_path: Path) -> None:
    prices = parse_price_list(example(tmp_path, 0), "prices.yaml")
    cells = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in cells if len(row) == 7 and row[3].startswith("20")]
    assert len(rows) == 6
    for name, tag, tenant, finished, latency_ms, size, cost in rows:
        tool = Tool(name=name, tags=(tag,), binding=LocalBinding(function="x"))
        caller = TenantId(tenant) if tenant.isalpha() else None
        tariff = prices.tariff(tool, caller, datetime.fromisoformat(finished))
        quote = tariff.quote(latency_ms=int(latency_ms), bytes_out=int(size))
        assert quote == from_decimal(Decimal(cost)), name


def test_the_documented_budgets_are_those_of_the_page(tmp_path: Path) -> None:
    acme, beta = TenantId("acme"), TenantId("beta")
    assert parse_budgets(example(tmp_path, 1), "budgets.yaml") == (
        Budget(tenant=acme, monthly=MicroUnits(250_000_000)),
        Budget(tenant=acme, consumer="ci", monthly=MicroUnits(40_500_000)),
        Budget(tenant=beta, consumer="ci", monthly=MicroUnits(10_000_000)),
    )


def _written(rates: Rates) -> dict[str, Any]:
    names = {"per_100_ms": "per100Ms", "per_kib_out": "perKibOut", "premium_factor": "premiumFactor"}
    names |= {"per_question": "perQuestion", "base": "base"}
    fields: dict[str, Any] = {
        names[field]: f"{value:f}" for field, value in dict(rates).items() if field in names and value is not None
    }
    if isinstance(rates, RatesByOperation):
        fields["tags"] = {tag: _written(own) for tag, own in rates.tags.items()}
        fields["tools"] = {name: _written(own) for name, own in rates.tools.items()}
    return fields


@given(price_lists)
def test_a_price_list_is_read_as_it_was_written(prices: PriceList) -> None:
    versions: list[dict[str, Any]] = []
    for version in prices.versions:
        written = _written(version)
        written["tenants"] = {tenant: _written(own) for tenant, own in version.tenants.items()}
        if version.since is not None:
            written["from"] = version.since.isoformat()
        versions.append(written)
    assert parse_price_list(document("PriceList", versions=versions), "x") == prices


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        ([], "spec.versions: write at least one"),
        ([{"base": 0.1}], "spec.versions.0.base: write an amount such as 0.001"),
        ([{"base": True}], "spec.versions.0.base: write an amount such as 0.001"),
        ([{"base": "cheap"}], "spec.versions.0.base: write an amount such as 0.001"),
        ([{"base": "-1"}], "spec.versions.0.base: write an amount such as 0.001"),
        ([{"base": "0.0000000000001"}], "at most 12 decimal places"),
        ([{"price": 1}], "spec.versions.0.price: no such field"),
        ([{"per_100_ms": 1}], "spec.versions.0.per_100_ms: no such field"),
        ([{"premiumFactor": "0.5"}], "spec.versions.0.premiumFactor: Input should be greater than or equal to 1"),
        ([{"perQuestion": "0.0000001"}], "finer than one micro-unit"),
        ([{"tools": {"a": {"tags": {}}}}], "spec.versions.0.tools.a.tags: no such field"),
        ([{"tenants": {"Acme!": {}}}], "spec.versions.0.tenants.Acme!"),
        ([{"from": "2026-01-01"}], "spec.versions.0.from: "),
        ([{"from": "2026-01-01T00:00:00"}], "spec.versions.0.from: Input should have timezone info"),
        ([{"from": 2026}], "spec.versions.0.from: write the instant with its time zone as 2026-01-01T00:00:00Z"),
        ([{}, {}], "spec.versions.1: from is missing; only the first version may leave it out"),
        (
            [{"from": "2026-01-02T00:00:00Z"}, {"from": "2026-01-02T01:00:00+01:00"}],
            "spec.versions.1.from: it must be later than that of the version before",
        ),
    ],
)
def test_what_is_wrong_is_told_by_file_and_field(versions: Any, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_price_list(document("PriceList", versions=versions), "PRICES_PATH=prices.yaml")
    assert refused.value.message.startswith("PRICES_PATH=prices.yaml: ")
    assert problem in refused.value.message


@pytest.mark.parametrize(
    ("tenants", "problem"),
    [
        ({"acme": {}}, "spec.tenants.acme: write monthly, or consumers with theirs"),
        ({"acme": {"monthly": 0.5}}, "spec.tenants.acme.monthly: write an amount such as 0.001"),
        ({"acme": {"monthly": "0.0000001"}}, "finer than one micro-unit"),
        ({"acme": {"monthly": "1000000000"}}, "spec.tenants.acme.monthly: an amount is below 10^9"),
        ({"acme": {"yearly": 1}}, "spec.tenants.acme.yearly: no such field"),
        ({"acme": {"consumers": {"": {"monthly": 1}}}}, "spec.tenants.acme.consumers"),
        ({"acme": {"consumers": {"ci": {}}}}, "spec.tenants.acme.consumers.ci.monthly: Field required"),
        ({"Acme!": {"monthly": 1}}, "spec.tenants.Acme!"),
    ],
)
def test_what_is_wrong_in_budgets_is_told_by_file_and_field(tenants: Any, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_budgets(document("Budgets", tenants=tenants), "budgets.yaml")
    assert refused.value.message.startswith("budgets.yaml: ")
    assert problem in refused.value.message


@pytest.mark.parametrize("parse", [parse_price_list, parse_budgets])
def test_neither_is_of_another_kind_or_in_a_namespace(parse: Any) -> None:
    with pytest.raises(InvalidInput, match=r"x: kind: Input should be '(PriceList|Budgets)'"):
        parse(document("Tool", versions=[{}], tenants={}), "x")
    kind, spec = ("PriceList", {"versions": [{}]}) if parse is parse_price_list else ("Budgets", {"tenants": {}})
    wrong = document(kind, **spec)
    wrong["metadata"]["namespace"] = "tenant-acme"
    with pytest.raises(InvalidInput, match=r"x: metadata\.namespace: remove it"):
        parse(wrong, "x")
