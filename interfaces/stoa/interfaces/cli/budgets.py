"""`stoa usage budgets`: what is left of this month's budgets, as bars."""

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
        found = await (await container.get(Budgets)).status(None if tenant is None else TenantId(tenant))
    if format == "json":
        show_json([budget_as_json(one) for one in found])
        return
    columns = ("tenant", "consumer", "month", "spent", "monthly", "percent")
    drawn = table("Budgets", columns, (), numeric=columns[3:])
    drawn.add_column("", min_width=20)
    for one in found:
        owner, month = one.account.owner, str(one.account.period)
        amounts = [f"{to_decimal(amount):f}" for amount in (one.spent, one.account.limit)]
        bar = Bar(100, 0, min(one.percent, 100), width=20)
        drawn.add_row(owner.tenant, owner.consumer or "", month, *amounts, str(one.percent), bar)
    console().print(drawn)
