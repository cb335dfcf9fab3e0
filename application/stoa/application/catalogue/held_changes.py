"""New versions of API descriptions whose changes a ToolSet wants approved before they are used."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from stoa.application.catalogue.earlier_names import without_earlier_names
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.finding import Finding, Reason, error
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Tool
from stoa.domain.operations.tool_changes import ChangeKind, ToolChange, tool_changes
from stoa.domain.origin import Origin

_NAMED = 3


@dataclass(frozen=True, slots=True)
class PendingChanges:
    """A version of a description that is not used before it is approved."""

    digest: str
    """SHA-256 (hex) of the description and its location: what is approved."""
    changes: tuple[ToolChange, ...]
    """All its changes, not only those that are held back."""


def approval_key(origin: Origin, digest: str) -> str:
    """The key of an approval: SHA-256 (hex) of the manifest's place and the digest of the description."""
    return hashlib.sha256(f"{origin}\n{digest}".encode("utf-8", "surrogatepass")).hexdigest()


def changes_between(before: Iterable[Operation], after: Iterable[Operation]) -> tuple[ToolChange, ...]:
    """The changes of the tools; an earlier name that ended is none."""
    old, new = without_earlier_names(before), without_earlier_names(after)
    return tool_changes(
        [operation for operation in old if isinstance(operation, Tool)],
        [operation for operation in new if isinstance(operation, Tool)],
    )


def held_back(
    document: ManifestDocument, digest: str, changes: Sequence[ToolChange], kinds: Collection[ChangeKind]
) -> Finding | None:
    """Finding about changes of one of these kinds; None: there are none."""
    held = [change for change in changes if change.kind in kinds]
    if not held:
        return None
    named = "; ".join(f"{change.kind}: {change.tool} ({change.why})" for change in held[:_NAMED])
    more = f" and {len(held) - _NAMED} more" if len(held) > _NAMED else ""
    message = (
        f"a new version of the description is held back, and the last good one stays in use: {named}{more}; "
        f"when you have read the changes, set spec.changes.approved to {digest}, or approve them by `stoa changes`"
    )
    return error(str(document.origin), message, document.origin, Reason.HELD_BACK)
