"""An explanation as JSON: the same from REST and the command line."""

from stoa.application.calls.explain_call import Explanation
from stoa.domain.metering.money import to_json_number
from stoa.domain.schema.json_value import JsonObject


def wire_explanation(explanation: Explanation) -> JsonObject:
    """The explanation; members of stages that the call would not reach are null or empty."""
    decision = explanation.decision
    return {
        "toolName": explanation.tool,
        "absence": explanation.absence,
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
        "lowered": explanation.lowered,
        "limits": [
            {
                "name": limit.name,
                "requestsPerMinute": limit.limit.requests_per_minute,
                "burst": limit.limit.burst,
                "left": limit.left,
            }
            for limit in explanation.limits
        ],
        "coerced": list(explanation.coerced),
        "tolerated": list(explanation.tolerated),
        "violations": [
            {"path": violation.path, "expected": violation.expected} for violation in explanation.violations
        ],
        "costUnits": None if explanation.price is None else to_json_number(explanation.price),
        "fixedArguments": explanation.fixed,
        "request": explanation.request,
    }
