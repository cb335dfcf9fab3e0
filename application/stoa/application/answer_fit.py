"""Does a client's answer fit what it was asked? The same rule for every channel."""

import jsonschema_rs

from stoa.domain.dialogue import (
    ElicitationAnswer,
    ElicitationRequest,
    InputAnswer,
    InputRequest,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingRequest,
)


def fits(request: InputRequest, answer: InputAnswer) -> bool:
    """Of the right kind; an accepted form satisfies its schema. A form that cannot be checked is not filled in."""
    match request, answer:
        case ElicitationRequest(), ElicitationAnswer(action="accept"):
            try:
                return jsonschema_rs.is_valid(request.schema, dict(answer.content), offline=True)
            except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
                return False
        case (
            (ElicitationRequest(), ElicitationAnswer())
            | (SamplingRequest(), SamplingAnswer())
            | (RootsRequest(), RootsAnswer())
        ):
            return True
        case _:
            return False
