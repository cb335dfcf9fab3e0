"""`stoa convert`: shows the tools that an API description becomes."""

from pathlib import Path
from typing import Any, Literal

from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.ports.spec import ConversionOptions, SpecSource
from stoa.application.ports.spec_kind import SpecKind
from stoa.interfaces.cli.common import complain, console, open_container, show_json, table
from stoa.interfaces.settings import Settings
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.revisions import NEWEST

_ANY_SERVER = "http://upstream.invalid"  # the base URL does not change the tools that are shown


async def convert(
    spec: str,
    /,
    *,
    format: Literal["table", "json"] = "table",
    report: Path | None = None,  # the option's name
) -> None:
    """Show the tools that an API description becomes.

    Parameters
    ----------
    spec
        File or URL of an OpenAPI document or GraphQL schema, or the address of a GraphQL service.
    format
        `json` prints an array of tools as MCP lists them, and nothing else.
    report
        File for the findings, one a line; standard error where absent.
    """
    async with open_container(Settings()) as container:
        kinds = SpecKinds(await container.get(list[SpecKind[Any]]), await container.get(SpecSource))
        description = await kinds.recognise(spec)
        converter = description.kind.converter(description.source)
        conversion = converter.convert(description.document, ConversionOptions(base_url=_ANY_SERVER))
    findings = [str(finding) for finding in conversion.findings]
    if report is not None:
        report.write_text("".join(f"{line}\n" for line in findings), encoding="utf-8")
    else:
        for line in findings:
            complain(line)
    if format == "json":
        listed = [shaping.tool(tool, NEWEST) for tool in conversion.tools]
        show_json(listed)
        return
    rows = [[tool.name, tool.access.value, tool.title or tool.description[:60]] for tool in conversion.tools]
    console().print(table(f"{len(rows)} tools from {spec}", ["tool", "needs", "what it does"], rows))
