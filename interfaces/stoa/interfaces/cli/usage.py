"""`stoa usage`: shows usage and cost as a table, a chart, CSV or JSON; `stoa usage reconcile` checks that everything
was recorded and forwarded."""

import sys
from datetime import datetime
from typing import Literal

from cyclopts import App
from rich.table import Table

from stoa.application.metering.summarise_usage import SummariseUsage, UsageSummary
from stoa.domain.access.identity import Principal, TenantId
from stoa.interfaces.cli.budgets import budgets
from stoa.interfaces.cli.common import console, open_container, show_json
from stoa.interfaces.cli.reconcile import reconcile
from stoa.interfaces.cli.usage_chart import Measure, chart
from stoa.interfaces.settings import Settings
from stoa.interfaces.wire.usage_report import COLUMNS, as_csv, as_json, figures_of, share

_OPERATOR = Principal.of("operator", roles=["cpi-admin"])  # a user who can read DATA_DIR can read the events anyway

app = App(name="usage", help="What was called and what it cost, from the metering events in DATA_DIR.")
app.command(budgets)
app.command(reconcile)


@app.default
async def usage(
    *,
    by: str = "tenant,tool",
    tenant: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    format: Literal["table", "chart", "csv", "json"] = "table",  # the option's name
    measure: Measure = "calls",
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
        table, chart (with `--by day` over time), csv or json.
    measure
        What a chart's bars show: calls or cost.
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
    elif format == "chart":
        console().print(chart(summary, measure))
    elif format == "csv":
        sys.stdout.write(as_csv(summary))
    else:
        show_json(as_json(summary))


def _table(summary: UsageSummary) -> Table:
    drawn = Table(title="Usage", title_justify="left", header_style="bold", show_footer=True)
    for position, name in enumerate(summary.group_by):
        drawn.add_column(name, footer="" if position else "total", overflow="fold")
    for name, total in zip(COLUMNS, figures_of(summary.totals), strict=True):
        drawn.add_column(name, justify="right", footer=total)
    drawn.add_column("share of calls", justify="right")
    for row in summary.rows:
        drawn.add_row(*row.group, *figures_of(row), share(row, summary.totals))
    return drawn
