"""Client requests and their answers: a form or a web page for the user, an answer of the language model, the folders
that the client works in (MCP "Elicitation", "Sampling", "Roots").

In the handshake era the tool waits for the answer. In the stateless era a client request ends the round:
`InputRequired` is raised, the client repeats its call with the answer, and the tool runs again from its start with the
answers so far. So everything before a client request must be repeatable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from stoa.domain.client_requests.sampling import (
    ModelPreferences,
    SamplingAnswer,
    SamplingContent,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    ToolUse,
    ToolUseResult,
)
from stoa.domain.client_requests.url_elicitation import UrlElicitationRequest
from stoa.domain.errors import InvalidInput
from stoa.domain.policy.decision import ClientRequestFacts
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object

__all__ = [  # with the parts of client requests, so that functions import one module
    "LOG_LEVELS",
    "NO_CAPABILITIES",
    "ClientAnswer",
    "ClientCapabilities",
    "ClientRequest",
    "ElicitationAnswer",
    "ElicitationRequest",
    "InputRequired",
    "LogLevel",
    "ModelPreferences",
    "Root",
    "RootsAnswer",
    "RootsRequest",
    "SamplingAnswer",
    "SamplingContent",
    "SamplingMessage",
    "SamplingRequest",
    "SamplingTool",
    "ToolUse",
    "ToolUseResult",
    "UrlElicitationRequest",
    "capabilities_of",
    "request_facts",
]

LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]

LOG_LEVELS: dict[LogLevel, int] = {
    "debug": 0,
    "info": 1,
    "notice": 2,
    "warning": 3,
    "error": 4,
    "critical": 5,
    "alert": 6,
    "emergency": 7,
}
"""Severity by name (RFC 5424 section 6.2.1, least severe first)."""

_PLAIN_TYPES = frozenset({"string", "number", "integer", "boolean"})


@dataclass(frozen=True, slots=True)
class ElicitationRequest:
    """Requests that the client's user fills in a form. Forms must not contain passwords, keys or payment data."""

    message: str
    schema: JsonObject
    """A flat JSON Schema: an object whose properties are strings, numbers, booleans, or arrays of choices."""
    is_confirmation: bool = False
    """True for the request that the gateway makes for a policy's `confirm`; its answer counts for one call."""

    def __post_init__(self) -> None:
        properties = self.schema.get("properties")
        if self.schema.get("type") != "object" or not is_object(properties):
            raise InvalidInput('elicitation: the schema must be {"type": "object", "properties": {...}}')
        for name, schema in properties.items():
            if not _is_field(as_object(schema)):
                raise InvalidInput(f"elicitation: {name} must be a string, number, boolean, or a choice of strings")


def _is_field(schema: JsonObject) -> bool:
    kind = schema.get("type")
    if kind == "array":
        items = as_object(schema.get("items"))
        return is_array(items.get("enum")) or is_array(items.get("anyOf"))
    return isinstance(kind, str) and kind in _PLAIN_TYPES


@dataclass(frozen=True, slots=True)
class ElicitationAnswer:
    action: Literal["accept", "decline", "cancel"]
    content: Mapping[str, Any]
    """The filled-in form, valid by its schema; empty unless accepted."""


@dataclass(frozen=True, slots=True)
class RootsRequest:
    """Requests the folders that the client works in."""


@dataclass(frozen=True, slots=True)
class Root:
    uri: str
    """A `file:` URI."""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RootsAnswer:
    roots: tuple[Root, ...]


ClientRequest = SamplingRequest | ElicitationRequest | UrlElicitationRequest | RootsRequest
ClientAnswer = SamplingAnswer | ElicitationAnswer | RootsAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCapabilities:
    """The client requests that the client declared to take."""

    sampling: bool = False
    sampling_tools: bool = False
    """The client's model may be offered tools."""
    sampling_context: bool = False
    """The client can add context of servers to a sampling request."""
    elicitation: bool = False
    """Elicitation by form."""
    elicitation_url: bool = False
    """Elicitation by sending the user to a web page."""
    roots: bool = False

    def missing(self, requests: Mapping[str, ClientRequest]) -> tuple[str, ...]:
        """The capabilities that these requests need and the client did not declare, as the protocol writes them:
        `sampling`, `sampling.tools`, `elicitation`, `elicitation.url`, `roots`."""
        needed = {capability for request in requests.values() for capability in capabilities_of(request)}
        return tuple(sorted(name for name in needed if not getattr(self, name.replace(".", "_"))))

    def fitted(self, request: ClientRequest) -> ClientRequest:
        """The request without those optional parts that the client did not declare."""
        if isinstance(request, SamplingRequest) and request.include_context != "none" and not self.sampling_context:
            return replace(request, include_context="none")
        return request


NO_CAPABILITIES = ClientCapabilities()


def capabilities_of(request: ClientRequest) -> tuple[str, ...]:
    """The capabilities that a client must have declared to take this request."""
    match request:
        case SamplingRequest():
            return ("sampling", "sampling.tools") if request.uses_tools else ("sampling",)
        case ElicitationRequest():
            return ("elicitation",)
        case UrlElicitationRequest():
            return ("elicitation.url",)
        case RootsRequest():
            return ("roots",)


def request_facts(request: ClientRequest) -> ClientRequestFacts:
    """The part of a client request that policies see: no texts and no forms."""
    match request:
        case SamplingRequest():
            wished = request.model_preferences
            return ClientRequestFacts(
                kind="sampling",
                max_tokens=request.max_tokens,
                model_hints=() if wished is None else wished.hints,
                include_context=request.include_context,
                tools=tuple(tool.name for tool in request.tools),
            )
        case ElicitationRequest():
            return ClientRequestFacts(kind="elicitation", mode="form")
        case UrlElicitationRequest():
            return ClientRequestFacts(kind="elicitation", mode="url", url_host=request.host)
        case RootsRequest():
            return ClientRequestFacts(kind="roots")


class InputRequired(Exception):  # not an error: it ends a round, as CancelledError ends a task
    """Ends a round: the call goes on when the client has answered these requests. Functions must not catch it."""

    def __init__(self, requests: Mapping[str, ClientRequest]) -> None:
        super().__init__("the client has to answer first")
        self.requests = dict(requests)
