"""The schema of `status`, which the gateway writes and authors read."""

from typing import get_args

from stoa.application.catalogue.status import MOST_TEXT, MOST_TOOLS, ConditionType, ToolPhase, ToolSetPhase
from stoa.domain.schema.json_value import JsonObject

_INSTANT = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "format": "int64", "minimum": 0}
_CONDITION: JsonObject = {
    "type": "object",
    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    "properties": {
        "type": {"type": "string", "enum": list(get_args(ConditionType))},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "observedGeneration": _COUNT,
        "lastTransitionTime": _INSTANT,
        "reason": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z][A-Za-z0-9]*$"},
        "message": {"type": "string", "maxLength": MOST_TEXT},
    },
}


def status_schema(kind: str) -> JsonObject:
    """The structural schema of the status of one kind."""
    phases = ToolSetPhase if kind == "ToolSet" else ToolPhase
    properties: JsonObject = {
        "phase": {"type": "string", "enum": list(get_args(phases)), "description": "The conditions in one word."},
        "observedGeneration": {**_COUNT, "description": "The metadata.generation that the status is about."},
        "conditions": {
            "type": "array",
            "maxItems": len(get_args(ConditionType)),
            "items": _CONDITION,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "description": "Accepted, ResolvedRefs, NameConflict, and Programmed, whose reason sums up the others.",
        },
        "toolCount": {**_COUNT, "description": "The tools in use."},
        "tools": {
            "type": "array",
            "maxItems": MOST_TOOLS,
            "items": {"type": "string", "maxLength": 128},
            "description": f"Their names, the first {MOST_TOOLS}.",
        },
        "specHash": {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "SHA-256 of the API description in use.",
        },
        "registeredAt": {**_INSTANT, "description": "When what is in use was made."},
        "lastSyncedAt": {**_INSTANT, "description": "When the status was last computed from a change."},
        "invocationCount": {**_COUNT, "description": "Calls that were metered."},
        "errorCount": {**_COUNT, "description": "Those that failed."},
        "lastError": {"type": "string", "maxLength": MOST_TEXT, "description": "The first error, with its field."},
    }
    if kind == "ToolSet":
        counts = {
            "operations": "The selected operations of the API description.",
            "converted": "Those that became tools as they are described.",
            "approximated": "Those that became tools with something of their description lost.",
            "leftOut": "Those that became none.",
        }
        properties["conversion"] = {
            "type": "object",
            "description": "What became of the operations; the whole report is at /mcp/v1/apis/NAME/report.",
            "properties": {name: {**_COUNT, "description": text} for name, text in counts.items()},
        }
    return {"type": "object", "description": "Written by the gateway.", "properties": properties}
