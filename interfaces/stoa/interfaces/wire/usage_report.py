"""A usage report as JSON and CSV, the same from `stoa usage` and from REST."""

import csv
import io
from collections.abc import Sequence

from stoa.application.metering.budgets import AccountStatus
from stoa.application.metering.summarise_usage import UsageFigures, UsageSummary
from stoa.domain.metering.money import to_decimal, to_json_number
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.plain_text import plain

SOURCE = (
    "the events that the outbox of this machine holds; those of other machines, and archived ones, are not in it: "
    "the metering topic has them all"
)

COLUMNS = ("calls", "errors", "refusals", "p50 ms", "p95 ms", "cost units")


def figures_of(figures: UsageFigures) -> Sequence[str]:
    """One text for each of COLUMNS."""
    return [
        str(figures.calls),
        str(figures.errors),
        str(figures.refusals),
        str(figures.p50_latency_ms),
        str(figures.p95_latency_ms),
        f"{to_decimal(figures.cost):f}",
    ]


def share(part: UsageFigures, whole: UsageFigures) -> str:
    """The share of one group in all calls, as text."""
    return f"{100 * part.calls / whole.calls:.1f} %" if whole.calls else ""


def as_json(summary: UsageSummary) -> JsonObject:
    rows = [dict(zip(summary.group_by, row.group, strict=True)) | _named(row) for row in summary.rows]
    return {"groupBy": summary.group_by, "rows": rows, "totals": _named(summary.totals), "source": SOURCE}


def budget_as_json(status: AccountStatus) -> JsonObject:
    account = status.account
    return {
        "tenant": account.owner.tenant,
        "consumer": account.owner.consumer,
        "month": str(account.period),
        "monthly": to_json_number(account.limit),
        "spent": to_json_number(status.spent),
        "percent": status.percent,
    }


def as_csv(summary: UsageSummary) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*summary.group_by, *COLUMNS])
    writer.writerows([*map(_cell, row.group), *figures_of(row)] for row in summary.rows)
    return text.getvalue()


def _named(figures: UsageFigures) -> JsonObject:
    return {
        "calls": figures.calls,
        "errors": figures.errors,
        "refusals": figures.refusals,
        "p50LatencyMs": figures.p50_latency_ms,
        "p95LatencyMs": figures.p95_latency_ms,
        "costUnits": to_json_number(figures.cost),
    }


def _cell(text: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula, because consumers name themselves."""
    text = plain(text)
    return f"'{text}" if len(text) > 1 and text[0] in "=+-@\t\r" else text
