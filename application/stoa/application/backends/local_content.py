"""Python functions of the embedding program as resources and prompts: makes their descriptions, and reads their return
values."""

import base64
from collections.abc import Mapping
from typing import Any

from stoa.domain.errors import InvalidInput
from stoa.domain.operations.binding import LocalBinding
from stoa.domain.operations.prompt import Prompt, PromptArgument
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.uri_template import UriTemplate
from stoa.domain.results.result import EmbeddedResource, PromptMessage, TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject, as_object, is_array


def resource_of(
    uri: str, key: str, schema: JsonObject, proposed: Mapping[str, tuple[str, ...]], fields: Mapping[str, Any]
) -> Resource:
    """The resource that a function with this input schema reads. Raises InvalidInput when its parameters are not the
    template's variables."""
    try:
        variables = set(UriTemplate(uri).names)
    except ValueError as caught:
        raise InvalidInput(f"{uri}: {caught}") from caught
    parameters, required = set(as_object(schema.get("properties"))), set(schema.get("required", ()))
    if not required <= variables <= parameters:
        raise InvalidInput(f"{uri}: the function's parameters must be the variables of the URI template")
    values_by_name = {name: proposed.get(name) or listed_values(schema, name) for name in sorted(variables)}
    completions = {name: values for name, values in values_by_name.items() if values}
    binding = LocalBinding(function=key)
    return Resource.model_validate(
        {"uri": uri, "input_schema": schema, "binding": binding, "completions": completions, **fields}
    )


def prompt_of(
    name: str, key: str, schema: JsonObject, completions: Mapping[str, tuple[str, ...]], fields: Mapping[str, Any]
) -> Prompt:
    """The prompt that a function with this input schema writes: its parameters are the arguments."""
    parameters, required = as_object(schema.get("properties")), set(schema.get("required", ()))
    arguments = [
        PromptArgument(
            name=parameter,
            description=as_object(about).get("description", ""),
            required=parameter in required,
            completions=completions.get(parameter) or listed_values(schema, parameter),
        )
        for parameter, about in parameters.items()
    ]
    binding = LocalBinding(function=key)
    return Prompt.model_validate({"name": name, "arguments": arguments, "binding": binding, **fields})


def listed_values(schema: JsonObject, parameter: str) -> tuple[str, ...]:
    """The texts that a parameter's type lists (an Enum, a Literal); empty when it lists none."""
    about = as_object(as_object(schema.get("properties")).get(parameter))
    branches = [about, *map(as_object, about.get("anyOf", ()))]
    named = [as_object(schema.get("$defs")).get(str(branch.get("$ref", "")).rpartition("/")[2]) for branch in branches]
    values = [
        value
        for branch in (*branches, *map(as_object, named))
        for value in (*branch.get("enum", ()), branch.get("const"))
        if isinstance(value, str)
    ]
    return tuple(dict.fromkeys(values))


def contents_of(value: Any) -> ToolResult:
    """The content that a resource function returned: text, bytes, or a ToolResult of its own. The URI is the requested
    one."""
    match value:
        case ToolResult():
            return value
        case str():
            return ToolResult((TextContent(_storable(value)),))
        case bytes():
            return ToolResult((EmbeddedResource("", None, blob=base64.b64encode(value).decode("ascii")),))
        case _:
            raise TypeError(f"a resource function returns str, bytes or ToolResult, not {type(value).__name__}")


def messages_of(value: Any) -> ToolResult:
    """The messages that a prompt function returned: a text, which becomes the user's message, or messages."""
    if isinstance(value, ToolResult):
        return value
    spoken: list[Any] = value if is_array(value) else [value]
    return ToolResult((), messages=tuple(_message(message) for message in spoken))


def _message(value: Any) -> PromptMessage:
    match value:
        case PromptMessage():
            return value
        case str():
            return PromptMessage("user", TextContent(_storable(value)))
        case _:
            raise TypeError(f"a prompt function returns str or a list of PromptMessage, not {type(value).__name__}")


def _storable(text: str) -> str:
    """The text without half surrogate pairs, which cannot be sent."""
    return text.encode("utf-8", "replace").decode()
