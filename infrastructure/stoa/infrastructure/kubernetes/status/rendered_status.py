"""The status of a manifest as its object shows it. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from stoa.application.catalogue.status import Condition, ManifestStatus
from stoa.domain.schema.json_value import JsonObject, as_array, as_object
from stoa.infrastructure.kubernetes.status.call_counts import Calls

_NOW = frozenset({"lastSyncedAt"})
"""Members that every write renews, and that cause none."""


def rendered(status: ManifestStatus, *, before: JsonObject, generation: int, calls: Calls, now: datetime) -> JsonObject:
    """The whole status. `before`: what the object shows now, whose times stay where nothing changed, and whose counts
    are added to. Empty members are left out."""
    members: JsonObject = {
        "phase": status.phase,
        "observedGeneration": generation,
        "conditions": [
            _condition(one, generation, _by_type(before).get(one.type, {}), now) for one in status.conditions
        ],
        "toolCount": status.tool_count,
        "tools": list(status.tools),
        "specHash": status.spec_hash,
        "conversion": _conversion(status),
        "registeredAt": _registered_at(status, before, generation),
        "lastSyncedAt": _text_of(now),
        "invocationCount": _count(before, "invocationCount") + calls.invocations,
        "errorCount": _count(before, "errorCount") + calls.errors,
        "lastError": status.last_error,
    }
    return {name: value for name, value in members.items() if value is not None}


def _conversion(status: ManifestStatus) -> JsonObject | None:
    counts = status.converted
    if counts is None:
        return None
    return {
        "operations": sum(counts.values()),
        "converted": counts["converted"],
        "approximated": counts["approximated"],
        "leftOut": counts["left out"],
    }


def is_told(before: JsonObject, after: JsonObject) -> bool:
    """True if an object that shows `before` needs no write to show `after`."""
    return _compared(before) == _compared(after)


def patch(before: JsonObject, after: JsonObject, version: str) -> JsonObject:
    """The merge patch (RFC 7386) of the status subresource from one to the other. The server refuses it with a conflict
    if the object is no longer of this version."""
    gone = dict.fromkeys(before.keys() - after.keys())
    return {"metadata": {"resourceVersion": version}, "status": {**gone, **after}}


def transition(before: JsonObject, status: ManifestStatus) -> tuple[str, str, str] | None:
    """Type, reason and message of the Event that tells a change of phase or of what is wrong; None: neither changed."""
    programmed = status.condition("Programmed")
    shown = as_object(_by_type(before).get("Programmed"))
    if (before.get("phase"), shown.get("reason")) == (status.phase, programmed.reason):
        return None
    is_well = programmed.reason in {"Programmed", "Disabled"}
    return "Normal" if is_well else "Warning", programmed.reason, programmed.message


def _condition(condition: Condition, generation: int, before: JsonObject, now: datetime) -> JsonObject:
    is_same = before.get("status") == condition.status and before.get("lastTransitionTime")
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if is_same else _text_of(now),
    }


def _by_type(status: JsonObject) -> Mapping[str, JsonObject]:
    conditions = map(as_object, as_array(status.get("conditions")))
    return {str(condition.get("type")): condition for condition in conditions}


def _registered_at(status: ManifestStatus, before: JsonObject, generation: int) -> str | None:
    """Each replica made its operations at a moment of its own: what is shown stays while they are made of the same."""
    if status.registered_at is None:
        return None
    is_same = before.get("observedGeneration") == generation and before.get("specHash") == status.spec_hash
    shown = before.get("registeredAt")
    return shown if is_same and isinstance(shown, str) else _text_of(status.registered_at)


def _compared(status: JsonObject) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name not in _NOW}


def _count(status: JsonObject, name: str) -> int:
    value = status.get(name)
    return value if isinstance(value, int) else 0


def _text_of(moment: datetime) -> str:
    """In whole seconds, as Kubernetes writes a Time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
