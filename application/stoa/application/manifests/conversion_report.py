"""Makes the conversion report of a conversion."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from stoa.application.ports.conversion_report import ConversionReport, OperationOutcome, OperationReport
from stoa.application.ports.spec import Conversion, DescribedOperation
from stoa.domain.access.identity import TenantId
from stoa.domain.finding import Finding
from stoa.domain.operations.tool import Tool


def conversion_report(
    conversion: Conversion,
    location: str,
    *,
    api: str = "",
    tenant: TenantId | None = None,
    more: Iterable[Finding] = (),
) -> ConversionReport:
    """The report of a conversion. `more`: findings about its tools from elsewhere, such as overrides."""
    described = conversion.operations or tuple(DescribedOperation(tool.name, tool.name) for tool in conversion.tools)
    tools = {tool.name: tool for tool in conversion.tools}
    places = {each.operation for each in described}
    of_operation: defaultdict[str, list[Finding]] = defaultdict(list)
    others: list[Finding] = []
    for finding in (*conversion.findings, *more):
        place = _place_in(finding, location, places)
        if place is None:
            others.append(finding)
        else:
            of_operation[place].append(finding)
    return ConversionReport(
        api=api or next((tool.api.name for tool in conversion.tools if tool.api is not None), location),
        tenant=tenant,
        location=location,
        operations=tuple(_reported(each, tools, tuple(of_operation[each.operation])) for each in described),
        findings=tuple(others),
        examples=conversion.examples,
    )


def _reported(
    described: DescribedOperation, tools: Mapping[str, Tool], findings: tuple[Finding, ...]
) -> OperationReport:
    tool = None if described.tool is None else tools.get(described.tool)
    outcome: OperationOutcome = "left out" if tool is None else "approximated" if findings else "converted"
    return OperationReport(
        operation=described.operation,
        outcome=outcome,
        tool=described.tool,
        earlier_names=() if tool is None else tool.earlier_names,
        reason=described.reason,
        findings=findings,
    )


def _place_in(finding: Finding, location: str, places: set[str]) -> str | None:
    """The operation that a finding is about: its place is `GET /pets`, or begins so before a blank. A path may have
    blanks itself, so the longest counts."""
    where = finding.where.removeprefix(location).strip()
    end = len(where)
    while end > 0:
        if where[:end] in places:
            return where[:end]
        end = where.rfind(" ", 0, end)
    return None
