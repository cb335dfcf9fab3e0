"""Manifests of the kinds PriceList and Budgets: one document for the whole gateway, read when it starts.

Pure: text has been parsed into a dict before. Amounts are text or whole numbers, never floats.
`stoa.domain.metering.price_list` explains amounts and the precedence of prices.
"""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, ValidationError

from stoa.application.manifests.fields import Manifest, describe_manifest_error
from stoa.application.ports.manifest_parts import ManifestModel
from stoa.domain.access.identity import TenantName
from stoa.domain.errors import InvalidInput
from stoa.domain.metering.budget import Budget
from stoa.domain.metering.money import from_decimal
from stoa.domain.metering.price_list import (
    Amount,
    Factor,
    PriceList,
    PriceVersion,
    Rates,
    RatesByOperation,
    WholeAmount,
)
from stoa.domain.schema.json_value import JsonObject


def _text(value: object) -> object:
    if isinstance(value, str):
        return value
    raise ValueError("write the instant with its time zone as 2026-01-01T00:00:00Z")  # a number would be 1970


Instant = Annotated[AwareDatetime, BeforeValidator(_text)]
Consumer = Annotated[str, Field(min_length=1, max_length=128)]


class RatesManifest(ManifestModel):
    """Rates in a manifest; the domain's Rates explains the fields."""

    base: Amount | None = None
    per_100_ms: Amount | None = None
    per_kib_out: Amount | None = None
    premium_factor: Factor | None = None
    per_question: WholeAmount | None = None

    def to_rates(self) -> Rates:
        return Rates.model_validate({name: getattr(self, name) for name in Rates.model_fields})


class RatesByOperationManifest(RatesManifest):
    tags: dict[str, RatesManifest] = Field(default={})
    tools: dict[str, RatesManifest] = Field(default={})

    def to_rates_by_operation(self) -> RatesByOperation:
        return RatesByOperation.model_validate(self._fields())

    def _fields(self) -> dict[str, Any]:
        return {
            **dict(self.to_rates()),
            "tags": {tag: rates.to_rates() for tag, rates in self.tags.items()},
            "tools": {name: rates.to_rates() for name, rates in self.tools.items()},
        }


class PriceVersionManifest(RatesByOperationManifest):
    since: Instant | None = Field(default=None, alias="from")
    tenants: dict[TenantName, RatesByOperationManifest] = Field(default={})

    def to_version(self) -> PriceVersion:
        tenants = {tenant: rates.to_rates_by_operation() for tenant, rates in self.tenants.items()}
        return PriceVersion.model_validate({**self._fields(), "since": self.since, "tenants": tenants})


class _PriceListSpec(ManifestModel):
    versions: tuple[PriceVersionManifest, ...]


class PriceListManifest(Manifest):
    kind: Literal["PriceList"]
    spec: _PriceListSpec


class ConsumerBudgetManifest(ManifestModel):
    monthly: WholeAmount


class TenantBudgetManifest(ManifestModel):
    monthly: WholeAmount | None = None
    consumers: dict[Consumer, ConsumerBudgetManifest] = Field(default={})


class _BudgetsSpec(ManifestModel):
    tenants: dict[TenantName, TenantBudgetManifest]


class BudgetsManifest(Manifest):
    kind: Literal["Budgets"]
    spec: _BudgetsSpec


def parse_price_list(document: JsonObject, origin: str) -> PriceList:
    """The price list in `document`. Raises InvalidInput that names `origin`, each wrong field, and what to write
    there."""
    try:
        manifest = PriceListManifest.model_validate(document)
        _serves_all(manifest, origin)
        versions = tuple(version.to_version() for version in manifest.spec.versions)
    except ValidationError as caught:
        raise InvalidInput(f"{origin}: {describe_manifest_error(caught)}") from caught
    try:
        return PriceList(versions=versions)
    except ValidationError as caught:
        reason = caught.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{origin}: spec.{reason}") from caught


def parse_budgets(document: JsonObject, origin: str) -> tuple[Budget, ...]:
    """The budgets in `document`. Raises InvalidInput that names `origin`, each wrong field, and what to write there."""
    try:
        manifest = BudgetsManifest.model_validate(document)
        _serves_all(manifest, origin)
    except ValidationError as caught:
        raise InvalidInput(f"{origin}: {describe_manifest_error(caught)}") from caught
    budgets: list[Budget] = []
    for tenant, written in manifest.spec.tenants.items():
        if written.monthly is None and not written.consumers:
            raise InvalidInput(f"{origin}: spec.tenants.{tenant}: write monthly, or consumers with theirs")
        if written.monthly is not None:
            budgets.append(Budget(tenant=tenant, monthly=from_decimal(written.monthly)))
        budgets += [
            Budget(tenant=tenant, consumer=consumer, monthly=from_decimal(own.monthly))
            for consumer, own in written.consumers.items()
        ]
    return tuple(budgets)


def _serves_all(manifest: Manifest, origin: str) -> None:
    if manifest.metadata.namespace is not None:
        raise InvalidInput(
            f"{origin}: metadata.namespace: remove it; what is for one tenant stands in its tenants field"
        )
