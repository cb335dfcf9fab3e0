"""`stoa convert`: shows the tools that an API description becomes."""

from pathlib import Path
from typing import Any, Literal

from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.manifests.tools import ToolSetManifest
from stoa.application.ports.spec import ConversionOptions, SpecSource
from stoa.application.ports.spec_kind import SpecKind
from stoa.interfaces.bootstrap import served_spec
from stoa.interfaces.cli.common import complain, console, open_container, show_json, table
from stoa.interfaces.cli.spec_options import NONE_GIVEN, Spec, SpecOptions
from stoa.interfaces.settings import Settings
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.revisions import NEWEST

_ANY_SERVER = "http://upstream.invalid"  # the base URL does not change the tools that are shown


async def convert(
    spec: Spec,
    /,
    *,
    format: Literal["table", "json"] = "table",
    report: Path | None = None,  # the option's name
    options: SpecOptions = NONE_GIVEN,
) -> None:
    """Show the tools that an API description becomes.

    Parameters
    ----------
    spec
        API description, as `stoa serve` takes it: a file, a folder with the files of one description, a URL, `-` for
        standard input, or the address of a live server.
    format
        `json` prints an array of tools as MCP lists them, and nothing else.
    report
        File for the findings, one a line; standard error where absent.
    """
    settings = Settings()
    described = await served_spec(settings, spec, base_url=options.base_url, header_from_env=options.header_from_env)
    async with open_container(settings, described) as container:
        kinds = SpecKinds(await container.get(list[SpecKind[Any]]), await container.get(SpecSource))
        manifest = ToolSetManifest.read(described.manifest.content or {}, kinds.models)
        kind = kinds[manifest.member]
        document = await kind.fetch(manifest.source, kinds.place_of(described.manifest, manifest))
        conversion_options = ConversionOptions(base_url=options.base_url or _ANY_SERVER)
        conversion = kind.converter(manifest.source).convert(document, conversion_options)
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
