"""Changes of an API description as JSON: the same from REST and the command line."""

from collections.abc import Iterable

from stoa.application.catalogue.loaded_manifest import LoadedManifest
from stoa.domain.operations.tool_changes import ToolChange
from stoa.domain.schema.json_value import JsonObject


def changes_as_json(tool_set: LoadedManifest) -> JsonObject:
    """`changes`: what the version in use brought; `pending`: a newer one that is held back, or null."""
    pending = tool_set.pending
    return {
        "inUse": tool_set.digest,
        "since": tool_set.since.isoformat(),
        "changes": _changes(tool_set.changes),
        "pending": None if pending is None else {"digest": pending.digest, "changes": _changes(pending.changes)},
    }


def _changes(changes: Iterable[ToolChange]) -> list[JsonObject]:
    return [
        {
            "kind": change.kind,
            "tool": change.tool,
            "why": change.why,
            "before": change.before,
            "after": change.after,
        }
        for change in changes
    ]
