"""Static contents and messages, written in manifests. An argument's value replaces its `{{placeholder}}` once and is
not scanned again, so a value cannot bring placeholders of its own."""

import re
from collections.abc import Callable

from stoa.application.ports.tool_backend import BackendCall, CallContext, ToolBackend
from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.operations.binding import StaticBinding, StaticMessage, StaticResource
from stoa.domain.operations.operation import Operation
from stoa.domain.results.result import (
    TEXT_LIMIT,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    TextContent,
    ToolResult,
)
from stoa.domain.schema.json_value import JsonObject, as_object

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.-]+)\s*\}\}")

_Fill = Callable[[str], str]


class StaticBackend(ToolBackend):
    kind = "static"

    def prepare(self, tool: Operation) -> BackendCall:
        return _StaticCall(check_placeholders(tool))

    async def close(self) -> None:
        """Does nothing: there is no connection to release."""


class _StaticCall(BackendCall):
    def __init__(self, binding: StaticBinding) -> None:
        self._messages = binding.messages
        self._contents = tuple(_resource(resource, str) for resource in binding.contents)

    async def __call__(self, arguments: JsonObject, context: CallContext) -> ToolResult:  # noqa: ARG002
        room = TEXT_LIMIT

        def fill(text: str) -> str:
            nonlocal room
            filled = _PLACEHOLDER.sub(lambda placeholder: str(arguments.get(placeholder[1], "")), text)
            room -= len(filled) - len(text)
            if room < 0:
                raise InvalidArguments([Violation("", f"values with which the text grows by {TEXT_LIMIT} at most")])
            return filled

        messages = tuple(PromptMessage(message.role, _block(message, fill)) for message in self._messages)
        return ToolResult(self._contents, messages=messages)


def check_placeholders(tool: Operation) -> StaticBinding:
    """The operation's static binding. Raises InvalidInput for another binding, and for a placeholder without an
    argument."""
    binding = tool.binding
    if not isinstance(binding, StaticBinding):
        raise InvalidInput(f"{tool.key}: its binding is {binding.kind}, not static")
    properties = as_object(tool.input_schema.get("properties"))
    for text in _texts(binding):
        for name in _PLACEHOLDER.findall(text):
            if name not in properties:
                raise InvalidInput(f"{{{{{name}}}}} is not one of the arguments")
    return binding


def _texts(binding: StaticBinding) -> list[str]:
    """The texts of all messages in which placeholders are replaced."""
    texts = [message.text for message in binding.messages]
    for message in binding.messages:
        if message.resource is not None:
            texts += [message.resource.uri, message.resource.text]
    return [text for text in texts if text is not None]


def _block(message: StaticMessage, fill: _Fill) -> ContentBlock:
    if message.image is not None:
        return ImageContent(message.image.data, message.image.mime_type)
    if message.resource is not None:
        return _resource(message.resource, fill)
    return TextContent(fill(message.text or ""))


def _resource(static: StaticResource, fill: _Fill) -> EmbeddedResource:
    text = None if static.text is None else fill(static.text)
    return EmbeddedResource(fill(static.uri), static.mime_type, text, static.blob)
