"""The conversion report in the forms that people and programs read: JSON, text, and an HTML page without scripts."""

from collections.abc import Iterable, Iterator
from html import escape

from stoa.application.ports.conversion_report import ConversionReport, OperationReport
from stoa.domain.finding import Finding
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.plain_text import plain

HTML_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
"""The page has words of others; nothing in it may run or be fetched."""
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid #d8dee4}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}ul{margin:.2rem 0;padding-left:1.1rem}
.converted{color:#116329}.approximated{color:#9a6700}.left-out{color:#cf222e}.small{color:#57606a}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#30363d}
.converted{color:#3fb950}.approximated{color:#d29922}.left-out{color:#f85149}.small{color:#8d96a0}}
"""


def as_json(report: ConversionReport) -> JsonObject:
    counts = report.counts
    return {
        "api": report.api,
        "tenantId": report.tenant,
        "location": report.location,
        "isLossless": report.is_lossless,
        "counts": {
            "operations": len(report.operations),
            "converted": counts["converted"],
            "approximated": counts["approximated"],
            "leftOut": counts["left out"],
        },
        "operations": [
            {
                "operation": operation.operation,
                "outcome": operation.outcome,
                "tool": operation.tool,
                "earlierNames": list(operation.earlier_names),
                "reason": operation.reason or None,
                "findings": [_finding(finding) for finding in operation.findings],
            }
            for operation in report.operations
        ],
        "findings": [_finding(finding) for finding in report.findings],
        "renamed": dict(report.renamed),
        "examples": {
            "tried": len(report.examples),
            "refused": [
                {"operation": example.operation, "example": example.example, "reason": example.refusal}
                for example in report.refused_examples
            ],
        },
    }


def as_text(report: ConversionReport) -> str:
    """One line for each fact: first the counts, then what is not as the description says, then names and examples."""
    return "".join(f"{plain(line)}\n" for line in _lines(report))


def as_html(report: ConversionReport) -> str:
    """A whole page. Every word of the description is escaped."""
    sections = [
        _counts_line(report),
        _section("About the document", _list(_finding_text(finding) for finding in report.findings)),
        _section("Operations", _table(report.operations)),
        _section(
            "Renamed tools",
            _list(f"{earlier_name} is {name} now" for earlier_name, name in report.renamed.items()),
        ),
        _section(
            f"Request examples that are refused ({len(report.refused_examples)} of {len(report.examples)})",
            _list(_example_text(report)),
        ),
    ]
    title = _shown(f"Conversion report: {report.api}")
    body = "\n".join(section for section in sections if section)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f'<body><h1>{title}</h1>\n<p class="small">{_shown(report.location)}</p>\n{body}\n</body></html>\n'
    )


def _finding(finding: Finding) -> JsonObject:
    return {
        "severity": finding.severity.value,
        "where": finding.where,
        "message": finding.message,
        "pointer": finding.pointer or None,
        "line": finding.line,
    }


def _lines(report: ConversionReport) -> Iterator[str]:
    counts = report.counts
    yield (
        f"{report.location}: {len(report.operations)} operations, {counts['converted']} converted, "
        f"{counts['approximated']} approximated, {counts['left out']} left out"
    )
    for finding in report.findings:
        yield str(finding)
    for operation in report.operations:
        if operation.outcome != "converted":
            yield f"{operation.outcome}: {operation.operation}{_because(operation)}"
            yield from (f"  {finding}" for finding in _further(operation))
    for earlier_name, name in report.renamed.items():
        yield f"renamed: {earlier_name} is {name} now"
    if report.examples:
        yield f"request examples: {len(report.examples)} tried, {len(report.refused_examples)} refused"
        yield from (f"  {text}" for text in _example_text(report))


def _further(operation: OperationReport) -> Iterator[Finding]:
    """The findings that say more than the reason."""
    return (finding for finding in operation.findings if not finding.message.endswith(operation.reason or "\0"))


def _because(operation: OperationReport) -> str:
    return f": {operation.reason}" if operation.reason else "" if operation.tool is None else f" ({operation.tool})"


def _example_text(report: ConversionReport) -> Iterator[str]:
    for example in report.refused_examples:
        yield f"{example.operation} {example.example}: {example.refusal}"


def _finding_text(finding: Finding) -> str:
    pointer = f" at {finding.pointer}" if finding.pointer else ""
    return f"{finding}{pointer}"


def _counts_line(report: ConversionReport) -> str:
    counts = report.counts
    told = (f'<span class="{outcome.replace(" ", "-")}">{count} {outcome}</span>' for outcome, count in counts.items())
    return f"<p>{len(report.operations)} operations: {', '.join(told)}.</p>"


def _section(title: str, content: str) -> str:
    return f"<h2>{_shown(title)}</h2>\n{content}" if content else ""


def _list(entries: Iterable[str]) -> str:
    told = "".join(f"<li>{_shown(entry)}</li>" for entry in entries)
    return f"<ul>{told}</ul>" if told else ""


def _table(operations: Iterable[OperationReport]) -> str:
    rows = "\n".join(
        f'<tr><td><code>{_shown(each.operation)}</code></td><td class="{each.outcome.replace(" ", "-")}">'
        f"{each.outcome}</td><td><code>{_shown(each.tool or '')}</code></td>"
        f"<td>{_shown(each.reason)}{_list(_finding_text(finding) for finding in _further(each))}</td></tr>"
        for each in operations
    )
    head = "<tr><th>operation</th><th>outcome</th><th>tool</th><th>why</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>" if rows else "<p>There are none.</p>"


def _shown(text: str) -> str:
    return escape(plain(text))
