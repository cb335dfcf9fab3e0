"""`stoa tools`: shows operators the catalogue and its problems."""

from stoa.domain.finding import Severity
from stoa.interfaces.cli.common import NO_CATALOGUE, console, open_gateway, quiet_catalogue, table


async def tools(*, catalogue: list[str] | None = None) -> int:
    """Show every tool of every tenant, and each problem with its file and field. Exit code 1 when there are errors.

    Parameters
    ----------
    catalogue
        Manifest file or folder; TENANT=PATH where a tenant's team writes there. May be given several times. Replaces
        CATALOGUE_PATH.
    """
    with quiet_catalogue():
        async with open_gateway(catalogue or []) as (gateway, _):
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
