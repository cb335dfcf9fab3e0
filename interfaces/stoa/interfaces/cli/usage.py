"""`stoa usage`: who used what and what it cost, as a table with bars, CSV or JSON."""

import csv
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import pydantic_core
from rich.bar import Bar
from rich.table import Table

from stoa.application.summarise_usage import SummariseUsage, UsageFigures, UsageSummary
from stoa.domain.identity import Principal, TenantId
from stoa.domain.money import to_decimal
from stoa.interfaces.cli.common import console, open_container
from stoa.interfaces.settings import Settings

_FIGURES = ("calls", "errors", "refusals", "p50 ms", "p95 ms", "cost units")
_OPERATOR = Principal.of("operator", roles=["cpi-admin"])  # whoever can read DATA_DIR can read the events anyway


async def usage(
    *,
    by: str = "tenant,tool",
    tenant: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    format: Literal["table", "csv", "json"] = "table",  # the option's name
) -> None:
    """Summarise the metering events in DATA_DIR; works while the gateway runs.

    Parameters
    ----------
    by
        What to group by: any of tenant, tool, consumer, status, day, comma-separated.
    tenant
        Only this tenant.
    since
        Only events from then on; give a time zone.
    until
        Only events before; give a time zone.
    format
        table, csv or json.
    """
    async with open_container(Settings()) as container:
        summarise = await container.get(SummariseUsage)
        summary = summarise.execute(
            _OPERATOR,
            group_by=by.split(","),
            since=since,
            until=until,
            tenant=None if tenant is None else TenantId(tenant),
        )
    if format == "table":
        console().print(_table(summary))
    elif format == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow([*summary.group_by, *_FIGURES])
        writer.writerows([*row.group, *_figures(row)] for row in summary.rows)
    else:
        rows = [dict(zip(summary.group_by, row.group, strict=True)) | _named(row) for row in summary.rows]
        whole = {"groupBy": summary.group_by, "rows": rows, "totals": _named(summary.totals)}
        sys.stdout.write(pydantic_core.to_json(whole).decode() + "\n")


def _figures(figures: UsageFigures) -> Sequence[str]:
    return [
        str(figures.calls),
        str(figures.errors),
        str(figures.refusals),
        str(figures.p50_latency_ms),
        str(figures.p95_latency_ms),
        f"{to_decimal(figures.cost):f}",
    ]


def _named(figures: UsageFigures) -> dict[str, object]:
    return {
        "calls": figures.calls,
        "errors": figures.errors,
        "refusals": figures.refusals,
        "p50LatencyMs": figures.p50_latency_ms,
        "p95LatencyMs": figures.p95_latency_ms,
        "costUnits": to_decimal(figures.cost),
    }


def _table(summary: UsageSummary) -> Table:
    drawn = Table(title="Usage", title_justify="left", header_style="bold", show_footer=True)
    for position, name in enumerate(summary.group_by):
        drawn.add_column(name, footer="" if position else "total", overflow="fold")
    for name, total in zip(_FIGURES, _figures(summary.totals), strict=True):
        drawn.add_column(name, justify="right", footer=total)
    drawn.add_column("share of calls", min_width=20)
    most = max((row.calls for row in summary.rows), default=1)
    for row in summary.rows:
        drawn.add_row(*row.group, *_figures(row), Bar(most, 0, row.calls, width=20))
    return drawn
