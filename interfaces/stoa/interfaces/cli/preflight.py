"""`stoa preflight`: what a gateway would make of manifests, before any gateway gets them."""

import os
from collections.abc import Sequence
from typing import Literal

from stoa.application.catalogue.status import ManifestStatus, status_of
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, Severity
from stoa.domain.operations.operation import Operation
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.bootstrap import Preflight, preflight_of
from stoa.interfaces.cli.catalogue_difference import Difference, client_of, differences, served_entries
from stoa.interfaces.cli.common import console, open_container, quiet_catalogue, settings_for, show_json, table


async def preflight(
    *paths: str,
    against: str = "",
    cluster: bool = False,
    format: Literal["table", "json"] = "table",  # the option's name
) -> int:
    """Load manifests as a gateway would, and show what it makes of them. Exit code 1 when there are errors.

    Shown are the operations, the status of each manifest, and the findings.

    Parameters
    ----------
    paths
        Manifest files or folders; TENANT=PATH where a tenant's team writes there.
    against
        URL of a running gateway to compare with, such as https://mcp.gostoa.dev. STOA_TOKEN has the token of a caller
        who sees what is compared: best a platform admin.
    cluster
        The files are for a cluster: each manifest belongs to the tenant of its namespace, ConfigMaps and Secrets hold
        the descriptions that it names, and other objects are left out.
    format
        table or json.
    """
    settings = settings_for(paths)
    if not settings.catalogue_path:  # a pipeline that lost its variable must not pass
        raise InvalidInput("name the files or folders to load, or set CATALOGUE_PATH")
    async with open_container(settings) as container:
        with quiet_catalogue():
            result = await preflight_of(settings, container, as_objects=cluster)
        compared = None
        if against:
            tenants = {key.tenant for key in result.catalogue.operations}
            async with client_of(against, os.environ.get("STOA_TOKEN")) as client:
                compared = differences(result.catalogue, await served_entries(client, tenants))
    statuses = [(str(report.document.origin), status_of(report)) for report in result.load.manifests]
    if format == "json":
        show_json(_wire(result, statuses, compared))
    else:
        _print(result, statuses, compared, against)
        if not cluster and any(finding.message.startswith("kind: ") for finding in result.load.findings):
            note = "With --cluster the files are read as kubectl apply reads them, objects of other kinds among them."
            console(to_stderr=True).print(note, soft_wrap=True)
    return int(any(finding.severity is Severity.ERROR for finding in result.load.findings))


def _listed(result: Preflight) -> list[Operation]:
    return sorted(result.catalogue.operations.values(), key=lambda one: (one.tenant or "", one.qualified_name))


def _print(
    result: Preflight,
    statuses: Sequence[tuple[str, ManifestStatus]],
    compared: Sequence[Difference] | None,
    against: str,
) -> None:
    operations = [
        [one.tenant or "(global)", one.qualified_name, one.access.value, one.binding.summary] for one in _listed(result)
    ]
    out = console()
    out.print(table(f"{len(operations)} operations", ["tenant", "operation", "needs", "calls"], operations))
    rows = [
        [origin, status.phase, str(status.tool_count), status.condition("Programmed").reason]
        for origin, status in statuses
    ]
    out.print(table(f"{len(rows)} manifests", ["manifest", "phase", "tools", "reason"], rows, numeric=["tools"]))
    if compared is not None:
        changes = [[one.change, one.tenant or "(global)", one.name, ", ".join(one.fields)] for one in compared]
        title = f"{len(changes)} differences to {against}"
        out.print(table(title, ["change", "tenant", "operation", "fields"], changes))
    if result.skipped:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(result.skipped.items()))
        out.print(f"left out, because these are no manifests: {kinds}", soft_wrap=True)
    for finding in result.load.findings:
        file = _file_of(finding, result)
        console(to_stderr=True).print(f"{finding} (in {file})" if file else str(finding), soft_wrap=True)


def _file_of(finding: Finding, result: Preflight) -> str | None:
    """The file of a manifest of a cluster, whose findings name the object; None: the finding names the file itself."""
    return None if finding.origin is None else result.places.get(finding.origin)


def _wire(
    result: Preflight, statuses: Sequence[tuple[str, ManifestStatus]], compared: Sequence[Difference] | None
) -> JsonObject:
    wire: JsonObject = {
        "operations": [
            {"tenant": one.tenant, "kind": one.kind, "name": one.identifier, "needs": one.access.value}
            for one in _listed(result)
        ],
        "manifests": [_status(origin, status) for origin, status in statuses],
        "findings": [
            {
                "severity": one.severity,
                "where": one.where,
                "message": one.message,
                "reason": one.reason,
                "file": _file_of(one, result),
            }
            for one in result.load.findings
        ],
    }
    if compared is not None:
        wire["differences"] = [
            {"change": one.change, "tenant": one.tenant, "kind": one.kind, "name": one.name, "fields": one.fields}
            for one in compared
        ]
    return wire


def _status(origin: str, status: ManifestStatus) -> JsonObject:
    conditions = [
        {"type": one.type, "status": one.status, "reason": one.reason, "message": one.message}
        for one in status.conditions
    ]
    return {
        "manifest": origin,
        "phase": status.phase,
        "conditions": conditions,
        "toolCount": status.tool_count,
        "tools": status.tools,
    }
