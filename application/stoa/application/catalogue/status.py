"""The status of a manifest, as Kubernetes objects show it: a phase, and conditions in the manner of Gateway API.

Pure: computed from the report of one load. What only a cluster has (observedGeneration, transition times, counts of
calls) is added by the adapter that writes the status.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stoa.application.ports.catalogue_observer import ManifestReport
from stoa.application.ports.conversion_report import OperationOutcome
from stoa.domain.finding import Finding, Reason, Severity
from stoa.domain.operations.tool import Tool
from stoa.domain.schema.json_value import JsonObject, as_object

ToolPhase = Literal["Pending", "Registered", "Error", "Disabled"]
ToolSetPhase = Literal["Pending", "Syncing", "Ready", "Error", "Disabled"]
Phase = ToolPhase | ToolSetPhase
ConditionType = Literal["Accepted", "ResolvedRefs", "Programmed", "NameConflict"]
ConditionStatus = Literal["True", "False", "Unknown"]

MOST_TOOLS = 100
"""Upper bound on the names in `tools`; `tool_count` counts all."""
MOST_TEXT = 1024
"""Upper bound on the characters of a message."""

_REASONS: Mapping[ConditionType, tuple[Reason, ...]] = {
    "Accepted": (Reason.UNREADABLE, Reason.INVALID, Reason.AMBIGUOUS_NAMESPACE),
    "ResolvedRefs": (Reason.REFERENCE, Reason.ORIGIN, Reason.HELD_BACK, Reason.UNAVAILABLE),
    "NameConflict": (Reason.NAME,),
}
"""The condition that a finding of each reason decides. Parts that are left out count in Programmed."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition (Kubernetes API conventions, "Typical status properties")."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    """One word in CamelCase, of a closed list: the values of `stoa.domain.finding.Reason`, the type itself where all is
    well, or PartiallyProgrammed, Disabled, NotAccepted, NoConflict, NoTools."""
    message: str

    @property
    def is_well(self) -> bool:
        """True if no one has to act. Every condition is well when it is True, except NameConflict."""
        return self.status == ("False" if self.type == "NameConflict" else "True")


@dataclass(frozen=True, slots=True)
class ManifestStatus:
    """The part of a manifest's status that follows from the catalogue. Two equal ones need no new write."""

    phase: Phase
    conditions: tuple[Condition, ...]
    """Accepted, ResolvedRefs, NameConflict, Programmed, in this order; the last one sums up the others."""
    tool_count: int
    """Tools in use that the manifest gave."""
    tools: tuple[str, ...]
    """Their names, sorted, at most MOST_TOOLS."""
    spec_hash: str | None
    """SHA-256 (hex) of the API description in use; None: no description."""
    registered_at: datetime | None
    """When the operations in use were made, in UTC; None: there are none."""
    last_error: str | None
    """The first error, with the field that it names; None: no error."""
    converted: Mapping[OperationOutcome, int] | None = None
    """Operations of the API description by what became of them; None: no description."""

    def condition(self, name: ConditionType) -> Condition:
        return next(condition for condition in self.conditions if condition.type == name)


def status_of(report: ManifestReport) -> ManifestStatus:
    """The status that follows from the report of one load."""
    content = report.document.content or {}
    is_set = content.get("kind") == "ToolSet"
    tools = sorted(operation.identifier for operation in report.operations if isinstance(operation, Tool))
    accepted = _accepted(report.findings)
    resolved = _resolved(report.findings, accepted)
    conflict = _conflict(report.findings)
    served = len(tools) if is_set else len(report.operations)  # a set's description is a resource, and no tool
    programmed = _programmed(report.findings, (accepted, resolved, conflict), served, is_enabled=_is_enabled(content))
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    return ManifestStatus(
        phase=_phase(accepted, resolved, programmed, is_set=is_set),
        conditions=(accepted, resolved, conflict, programmed),
        tool_count=len(tools),
        tools=tuple(tools[:MOST_TOOLS]),
        spec_hash=report.spec_hash,
        registered_at=report.since if report.operations else None,
        last_error=_text(errors[:1]) or None,
        converted=None if report.conversion is None else report.conversion.counts,
    )


def _accepted(findings: Iterable[Finding]) -> Condition:
    decisive = _decisive("Accepted", findings)
    if decisive is None:
        return Condition("Accepted", "True", "Accepted", "The manifest is valid.")
    return Condition("Accepted", "False", decisive.reason.value, _text([decisive]))


def _resolved(findings: Iterable[Finding], accepted: Condition) -> Condition:
    decisive = _decisive("ResolvedRefs", findings)
    if decisive is not None:
        return Condition("ResolvedRefs", "False", decisive.reason.value, _text([decisive]))
    if not accepted.is_well:
        return Condition("ResolvedRefs", "Unknown", "NotAccepted", "The manifest is not accepted.")
    return Condition("ResolvedRefs", "True", "ResolvedRefs", "All that the manifest refers to was read.")


def _conflict(findings: Iterable[Finding]) -> Condition:
    conflicts = [finding for finding in findings if finding.reason is Reason.NAME]
    if not conflicts:
        return Condition("NameConflict", "False", "NoConflict", "Each name has one owner.")
    return Condition("NameConflict", "True", Reason.NAME.value, _text(conflicts))


def _programmed(
    findings: Sequence[Finding], others: Iterable[Condition], served: int, *, is_enabled: bool
) -> Condition:
    """The summary: its reason is the first one that an operator has to know."""
    wrong = next((condition for condition in others if not condition.is_well), None)
    if wrong is not None:
        return Condition("Programmed", "True" if served else "False", wrong.reason, wrong.message)
    if not is_enabled:
        return Condition("Programmed", "False", "Disabled", "spec.enabled is false.")
    left_out = [finding for finding in findings if finding.severity is Severity.ERROR]
    if not served:
        unsupported = [finding for finding in left_out if finding.reason is Reason.UNSUPPORTED]
        reason = Reason.UNSUPPORTED.value if unsupported else "NoTools"
        return Condition("Programmed", "False", reason, _text(unsupported or left_out or findings))
    if left_out:
        return Condition("Programmed", "True", "PartiallyProgrammed", _text(left_out))
    if findings:
        return Condition("Programmed", "True", "Programmed", f"In use, with a warning: {_text(findings)}"[:MOST_TEXT])
    return Condition("Programmed", "True", "Programmed", "All that the manifest describes is in use.")


def _phase(accepted: Condition, resolved: Condition, programmed: Condition, *, is_set: bool) -> Phase:
    if programmed.reason == "Disabled":
        return "Disabled"
    if resolved.reason == Reason.UNAVAILABLE.value:
        return "Syncing" if is_set else "Pending"
    if accepted.is_well and resolved.is_well and programmed.is_well:
        return "Ready" if is_set else "Registered"
    return "Error"


def _is_enabled(content: JsonObject) -> bool:
    return as_object(content.get("spec")).get("enabled") is not False


def _decisive(condition: ConditionType, findings: Iterable[Finding]) -> Finding | None:
    return next((finding for finding in findings if finding.reason in _REASONS[condition]), None)


def _text(findings: Iterable[Finding]) -> str:
    """The first finding in words, with the part of the manifest that it is about, and the number of the others."""
    every = list(findings)
    if not every:
        return ""
    more = f" (and {len(every) - 1} more)" if len(every) > 1 else ""
    first = every[0]
    place = first.where.removeprefix(str(first.origin)).lstrip(": ")  # the object itself needs no name
    return (f"{place}: {first.message}" if place else first.message)[: MOST_TEXT - len(more)] + more
