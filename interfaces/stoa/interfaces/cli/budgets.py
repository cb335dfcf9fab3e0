"""`stoa usage budgets`: shows this month's budgets and their spending, as bars."""

from typing import Literal

from rich.bar import Bar

from stoa.application.metering.budgets import Budgets
from stoa.domain.access.identity import TenantId
from stoa.domain.metering.money import to_decimal
from stoa.interfaces.cli.common import console, open_container, show_json, table
from stoa.interfaces.settings import Settings
from stoa.interfaces.wire.usage_report import budget_as_json


async def budgets(*, tenant: str | None = None, format: Literal["table", "json"] = "table") -> None:
    """Show how much of the budgets in BUDGETS_PATH is spent this month.

    Parameters
    ----------
    tenant
        Only this tenant.
    format
        table or json.
    """
    async with open_container(Settings()) as container:
        statuses = await (await container.get(Budgets)).status(None if tenant is None else TenantId(tenant))
    if format == "json":
        show_json([budget_as_json(status) for status in statuses])
        return
    columns = ("tenant", "consumer", "month", "spent", "monthly", "percent")
    drawn = table("Budgets", columns, (), numeric=columns[3:])
    drawn.add_column("", min_width=20)
    for status in statuses:
        owner, month = status.account.owner, str(status.account.period)
        amounts = [f"{to_decimal(amount):f}" for amount in (status.spent, status.account.limit)]
        bar = Bar(100, 0, min(status.percent, 100), width=20)
        drawn.add_row(owner.tenant, owner.consumer or "", month, *amounts, str(status.percent), bar)
    console().print(drawn)
