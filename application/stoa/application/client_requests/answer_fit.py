"""Validation of client answers, the same for every channel."""

from stoa.application.schemas.bounded_validator import BoundedValidator, TooCostly, is_plain_json
from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientRequest,
    ElicitationAnswer,
    ElicitationRequest,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingRequest,
    ToolUse,
    ToolUseResult,
    UrlElicitationRequest,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject


def fits(request: ClientRequest, answer: ClientAnswer) -> bool:
    """True for an answer of the right kind. An accepted form must satisfy its schema; one that cannot be checked does
    not fit. A model may use offered tools only, each use under an id of its own, and may not return tool results."""
    match request, answer:
        case SamplingRequest(), SamplingAnswer():
            return _samples(request, answer)
        case ElicitationRequest(), ElicitationAnswer(action="accept"):
            return _fills_in(request, dict(answer.content))
        case UrlElicitationRequest(), ElicitationAnswer():
            return not answer.content
        case (ElicitationRequest(), ElicitationAnswer()) | (RootsRequest(), RootsAnswer()):
            return True
        case _:
            return False


def _fills_in(request: ElicitationRequest, content: JsonObject) -> bool:
    try:
        return is_plain_json(content) and BoundedValidator(request.schema).is_valid(content)
    except (InvalidInput, TooCostly):
        return False


def _samples(request: SamplingRequest, answer: SamplingAnswer) -> bool:
    offered: set[str] = set() if request.tool_choice == "none" else {tool.name for tool in request.tools}
    uses = [block for block in answer.content if isinstance(block, ToolUse)]
    if any(isinstance(block, ToolUseResult) for block in answer.content):
        return False
    if uses and answer.role != "assistant":
        return False
    return {use.name for use in uses} <= offered and len({use.id for use in uses}) == len(uses)
