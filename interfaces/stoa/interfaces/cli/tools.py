"""`stoa tools`: shows operators the catalogue and its problems."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from stoa.application.catalogue import catalogue_loader as refresh_catalogue
from stoa.domain.finding import Severity
from stoa.interfaces.cli.common import NO_CATALOGUE, console, open_gateway, table


async def tools(*, catalogue: list[str] | None = None) -> int:
    """Show every tool of every tenant, and each problem with its file and field. Exit code 1 when there are errors.

    Parameters
    ----------
    catalogue
        Manifest file or folder; TENANT=PATH where a tenant's team writes there. May be given several times. Replaces
        CATALOGUE_PATH.
    """
    async with _quiet_log(), open_gateway(catalogue or []) as (gateway, _):
        listed = sorted(gateway.registry.catalogue.tools.values(), key=lambda tool: (tool.tenant or "", tool.name))
        findings = gateway.loader.findings
    rows = [
        [
            tool.tenant or "(global)",
            tool.name,
            tool.access.value if tool.lowered_by is None else f"{tool.access.value}, lowered by {tool.lowered_by}",
            tool.binding.summary,
            tool.title or tool.description[:60],
        ]
        for tool in listed
    ]
    console().print(table(f"{len(rows)} tools", ["tenant", "tool", "needs", "calls", "what it does"], rows))
    if not rows and not findings:
        console(to_stderr=True).print(f"stoa: no manifests found: {NO_CATALOGUE}")
    for finding in findings:
        console(to_stderr=True).print(str(finding))
    return int(any(finding.severity is Severity.ERROR for finding in findings))


@asynccontextmanager
async def _quiet_log() -> AsyncGenerator[None]:
    """Silences the log: the findings are printed below the table, and would appear twice."""
    log = logging.getLogger(refresh_catalogue.__name__)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
