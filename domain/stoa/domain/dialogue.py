"""What a tool may ask the client that called it, and what comes back: a form for its user, an answer of its language
model, the folders it works in (MCP "Elicitation", "Sampling", "Roots").

In the handshake era a question is a request to the client and the tool waits. In the stateless era a question ends the
round: `InputRequired` goes up, the client answers with a new request, and the tool runs again from its start with the
answers so far. So what stands before a question must be repeatable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stoa.domain.errors import InvalidInput
from stoa.domain.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.result import AudioContent, ImageContent, TextContent

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

SamplingContent = TextContent | ImageContent | AudioContent


@dataclass(frozen=True, slots=True)
class SamplingMessage:
    role: Literal["user", "assistant"]
    content: SamplingContent


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRequest:
    """Have the client's language model continue a conversation."""

    messages: tuple[SamplingMessage, ...]
    max_tokens: int
    system_prompt: str | None = None
    temperature: float | None = None
    stop_sequences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.messages or self.max_tokens < 1:
            raise InvalidInput("sampling: give at least one message, and max_tokens of 1 or more")


@dataclass(frozen=True, slots=True)
class SamplingAnswer:
    content: tuple[SamplingContent, ...]
    model: str
    role: Literal["user", "assistant"] = "assistant"
    stop_reason: str | None = None

    @property
    def text(self) -> str:
        """The text in it."""
        return "".join(block.text for block in self.content if isinstance(block, TextContent))


_FORM_TYPES = frozenset({"string", "number", "integer", "boolean", "array"})


@dataclass(frozen=True, slots=True)
class ElicitationRequest:
    """Have the client's user fill in a form. Never ask for passwords, keys or payment data in one."""

    message: str
    schema: JsonObject
    """A flat JSON Schema: an object whose properties are strings, numbers, booleans, or arrays of choices."""

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
    return isinstance(kind, str) and kind in _FORM_TYPES


@dataclass(frozen=True, slots=True)
class ElicitationAnswer:
    action: Literal["accept", "decline", "cancel"]
    content: Mapping[str, Any]
    """Valid by the form's schema; empty unless accepted."""


@dataclass(frozen=True, slots=True)
class RootsRequest:
    """Ask which folders the client works in."""


@dataclass(frozen=True, slots=True)
class Root:
    uri: str
    """A `file:` URI."""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RootsAnswer:
    roots: tuple[Root, ...]


InputRequest = SamplingRequest | ElicitationRequest | RootsRequest
InputAnswer = SamplingAnswer | ElicitationAnswer | RootsAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCapabilities:
    """What the client declared that it can be asked for."""

    sampling: bool = False
    elicitation: bool = False
    """By form."""
    roots: bool = False

    def missing(self, requests: Mapping[str, InputRequest]) -> tuple[str, ...]:
        """The capabilities that these requests need and the client did not declare."""
        needed = {capability_of(request) for request in requests.values()}
        return tuple(sorted(name for name in needed if not getattr(self, name)))


NO_CAPABILITIES = ClientCapabilities()


def capability_of(request: InputRequest) -> str:
    """The member of ClientCapabilities that this request needs."""
    match request:
        case SamplingRequest():
            return "sampling"
        case ElicitationRequest():
            return "elicitation"
        case RootsRequest():
            return "roots"


class InputRequired(Exception):  # not an error: it ends a round, as CancelledError ends a task
    """The call cannot go on before the client has answered these. Do not catch it."""

    def __init__(self, requests: Mapping[str, InputRequest]) -> None:
        super().__init__("the client has to answer first")
        self.requests = dict(requests)
