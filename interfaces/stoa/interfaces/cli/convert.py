"""`stoa convert`: shows the tools that an API description becomes, and what it loses on the way."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic_core
from cyclopts import Parameter

from stoa.application.manifests.conversion_report import conversion_report
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.manifests.tools import ToolSetManifest
from stoa.application.ports.conversion_report import ConversionReport
from stoa.application.ports.spec import ConversionOptions, SpecSource
from stoa.application.ports.spec_kind import SpecKind
from stoa.domain.schema.plain_text import escaped
from stoa.interfaces.cli.common import complain, console, described_spec, open_container, show, show_json, table
from stoa.interfaces.cli.spec_options import NONE_GIVEN, Spec, SpecOptions
from stoa.interfaces.settings import Settings
from stoa.interfaces.wire import conversion_report as wire
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.revisions import NEWEST

_ANY_SERVER = "http://upstream.invalid"  # the base URL does not change the tools that are shown


ReportForm = Literal["text", "json", "html"]
_FORMS: dict[str, ReportForm] = {".json": "json", ".html": "html", ".htm": "html"}


async def convert(
    spec: Spec,
    /,
    *,
    format: Literal["table", "json"] = "table",
    report: Annotated[list[str] | None, Parameter(consume_multiple=(0, 1))] = None,
    strict: bool = False,
    options: SpecOptions = NONE_GIVEN,
) -> int:
    """Show the tools that an API description becomes. Exit code 1 with `--strict` where anything is lost.

    Parameters
    ----------
    spec
        API description, as `stoa serve` takes it: a file, a folder with the files of one description, a URL, `-` for
        standard input, or the address of a live server.
    format
        `json` prints an array of tools as MCP lists them, and nothing else.
    report
        `text`, `json` or `html` prints the report in place of the tools: what became of each operation, why, where in
        the document, and which of its request examples are refused. A file gets it in the form of its ending. Without
        the option, the findings go to standard error.
    strict
        Fail if an operation is left out, or not everything that the description says is honoured.
    """
    settings = Settings()
    described = await described_spec(settings, spec, options)
    async with open_container(settings, described) as container:
        kinds = SpecKinds(await container.get(list[SpecKind[Any]]), await container.get(SpecSource))
        manifest = ToolSetManifest.read(described.manifest.content or {}, kinds.models)
        kind = kinds[manifest.member]
        # Also where the text is known: a kind may fetch the files that it refers to.
        document = await kind.fetch(manifest.source, kinds.place_of(described.manifest, manifest))
        conversion_options = ConversionOptions(
            base_url=options.base_url or _ANY_SERVER,
            authentication=manifest.spec.tool_defaults.authentication.to_domain(),
            tries_examples=report is not None,
        )
        conversion = kind.converter(manifest.source).convert(document, conversion_options)
    told = conversion_report(conversion, document.location)
    is_printed = _tell(told, report)
    if report is None:
        for finding in conversion.findings:
            complain(str(finding))
    if not is_printed and format == "json":
        show_json([shaping.tool(tool, NEWEST) for tool in conversion.tools])
    elif not is_printed:
        rows = [[tool.name, tool.access.value, tool.title or tool.description[:60]] for tool in conversion.tools]
        console().print(table(f"{len(rows)} tools from {spec}", ["tool", "needs", "what it does"], rows))
    return int(strict and not told.is_lossless)


def _tell(report: ConversionReport, wanted: list[str] | None) -> bool:
    """Writes the report where it is wanted; True if that was standard output."""
    if wanted is None:
        return False
    target = wanted[0] if wanted else "text"
    forms: dict[str, ReportForm] = {"text": "text", "json": "json", "html": "html"}
    if target in forms:
        show(_written(report, forms[target]).rstrip("\n"))
        return True
    path = Path(target)
    path.write_text(_written(report, _FORMS.get(path.suffix.lower(), "text")), encoding="utf-8")
    return False


def _written(report: ConversionReport, form: ReportForm) -> str:
    match form:
        case "json":
            return escaped(pydantic_core.to_json(wire.as_json(report), indent=2).decode())
        case "html":
            return wire.as_html(report)
        case "text":
            return wire.as_text(report)
