"""Sampling: a running call has its client's language model continue a conversation (MCP "Sampling").

The model may be offered tools. It answers with `ToolUse` blocks; the function runs them and samples again, with the
answer and one user message of `ToolUseResult` blocks appended.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pydantic_core

from stoa.domain.errors import InvalidInput
from stoa.domain.results.result import MISSING, AudioContent, ContentBlock, ImageContent, TextContent
from stoa.domain.schema.json_value import JsonObject

Role = Literal["user", "assistant"]
IncludeContext = Literal["none", "thisServer", "allServers"]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A model's call of one of the offered tools."""

    id: str
    name: str
    input: JsonObject
    """Written by a model: the function that offered the tool must check it against the tool's schema."""


@dataclass(frozen=True, slots=True)
class ToolUseResult:
    """A tool's answer, for the model."""

    tool_use_id: str
    content: tuple[ContentBlock, ...]
    structured: Any = MISSING
    is_error: bool = False


SamplingContent = TextContent | ImageContent | AudioContent | ToolUse | ToolUseResult


@dataclass(frozen=True, slots=True)
class SamplingMessage:
    role: Role
    content: SamplingContent | tuple[SamplingContent, ...]

    @property
    def blocks(self) -> tuple[SamplingContent, ...]:
        return self.content if isinstance(self.content, tuple) else (self.content,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPreferences:
    """Preferences for the choice of a model, which the client makes. Priorities are 0 (unimportant) to 1."""

    hints: tuple[str, ...] = ()
    """Names of models or parts of names, in order of preference."""
    cost_priority: float | None = None
    speed_priority: float | None = None
    intelligence_priority: float | None = None

    def __post_init__(self) -> None:
        for name in ("cost_priority", "speed_priority", "intelligence_priority"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InvalidInput(f"sampling: {name} must be 0 to 1")


@dataclass(frozen=True, slots=True)
class SamplingTool:
    """A tool offered to the model; the function that samples runs it."""

    name: str
    description: str
    input_schema: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRequest:
    """Requests that the client's language model continues a conversation."""

    messages: tuple[SamplingMessage, ...]
    max_tokens: int
    system_prompt: str | None = None
    temperature: float | None = None
    stop_sequences: tuple[str, ...] = ()
    model_preferences: ModelPreferences | None = None
    tools: tuple[SamplingTool, ...] = ()
    tool_choice: Literal["auto", "required", "none"] | None = None
    metadata: JsonObject | None = None
    """Metadata for the provider of the model, passed through by the client."""
    include_context: IncludeContext = "none"
    """The servers whose context the client should add. Left out for clients without `sampling.context`."""

    def __post_init__(self) -> None:
        if not self.messages or self.max_tokens < 1:
            raise InvalidInput("sampling: give at least one message, and max_tokens of 1 or more")
        if self.temperature is not None and not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise InvalidInput("sampling: temperature must be a number of 0 or more")
        if self.tool_choice is not None and not self.tools:
            raise InvalidInput("sampling: tool_choice needs tools")
        if len({tool.name for tool in self.tools}) < len(self.tools):
            raise InvalidInput("sampling: two tools have one name")
        blocks = [block for message in self.messages for block in message.blocks]
        _check_json(
            [self.metadata, self.system_prompt, self.stop_sequences, [tool.input_schema for tool in self.tools]]
        )
        _check_json([_said(block) for block in blocks])
        _check_pairs(self.messages)

    @property
    def uses_tools(self) -> bool:
        """True if the client must have declared `sampling.tools`."""
        return bool(self.tools) or any(
            isinstance(block, ToolUse | ToolUseResult) for message in self.messages for block in message.blocks
        )


def _said(block: SamplingContent) -> Any:
    """The part of a block that carries text or data from outside the gateway."""
    match block:
        case TextContent():
            return block.text
        case ToolUse():
            return block.input
        case ToolUseResult():
            return None if block.structured is MISSING else block.structured
        case _:
            return None


def _check_json(value: Any) -> None:
    try:
        pydantic_core.from_json(pydantic_core.to_json(value), allow_inf_nan=False)
    except ValueError as caught:
        raise InvalidInput("sampling: texts must be Unicode; metadata, schemas, inputs and results JSON") from caught


def _check_pairs(messages: Sequence[SamplingMessage]) -> None:
    """Require that every message with tool uses is followed by a user message of their results alone, one for each
    (2025-11-25, "Sampling", Tool Result Messages and Tool Use and Result Balance)."""
    open_uses: list[str] = []
    for message in messages:
        uses = [block.id for block in message.blocks if isinstance(block, ToolUse)]
        results = [block.tool_use_id for block in message.blocks if isinstance(block, ToolUseResult)]
        if not message.blocks:
            raise InvalidInput("sampling: a message needs content")
        if (uses and message.role != "assistant") or (results and message.role != "user"):
            raise InvalidInput("sampling: an assistant uses tools, a user answers with their results")
        if results and len(results) < len(message.blocks):
            raise InvalidInput("sampling: a message with tool results has nothing else in it")
        if sorted(results) != sorted(open_uses):
            raise InvalidInput("sampling: after a message that uses tools comes one with the result of each of them")
        if len(set(uses)) < len(uses):
            raise InvalidInput("sampling: two tool uses in one message have the same id")
        open_uses = uses
    if open_uses:
        raise InvalidInput("sampling: the last message uses tools; append their results")


@dataclass(frozen=True, slots=True)
class SamplingAnswer:
    content: tuple[SamplingContent, ...]
    model: str
    role: Role = "assistant"
    stop_reason: str | None = None

    @property
    def text(self) -> str:
        """The text of the answer."""
        return "".join(block.text for block in self.content if isinstance(block, TextContent))

    @property
    def tool_uses(self) -> tuple[ToolUse, ...]:
        """The tools that the model wants to be run before it goes on."""
        return tuple(block for block in self.content if isinstance(block, ToolUse))

    @property
    def message(self) -> SamplingMessage:
        """The answer as a message to append to the conversation."""
        return SamplingMessage(self.role, self.content)
