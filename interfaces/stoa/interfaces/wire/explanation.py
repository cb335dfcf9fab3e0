"""An explanation as JSON: the same from REST and the command line."""

from stoa.application.calls.explain_call import Explanation
from stoa.domain.metering.money import to_json_number
from stoa.domain.schema.json_value import JsonObject


def wire_explanation(found: Explanation) -> JsonObject:
    """Members that the call would not get to are null or empty."""
    decision = found.decision
    return {
        "toolName": found.tool,
        "absence": found.absence,
        "decision": None
        if decision is None
        else {
            "allowed": decision.is_allowed,
            "reason": decision.reason,
            "rules": list(decision.rules),
            "missingScopes": sorted(decision.missing_scopes),
            "redact": list(decision.obligations.redact),
            "confirm": decision.obligations.confirm,
        },
        "lowered": found.lowered,
        "limits": [
            {
                "name": one.name,
                "requestsPerMinute": one.limit.requests_per_minute,
                "burst": one.limit.burst,
                "left": one.left,
            }
            for one in found.limits
        ],
        "violations": [{"path": one.path, "expected": one.expected} for one in found.violations],
        "costUnits": None if found.price is None else to_json_number(found.price),
        "request": found.request,
    }
