"""Python functions of the embedding program as a back end."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pydantic_core
from pydantic import ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError

from stoa.application.manifests import describe_validation_error
from stoa.application.ports.tool_backend import BackendCall, CallContext, ToolBackend
from stoa.domain.errors import InvalidInput
from stoa.domain.json_value import JsonObject
from stoa.domain.result import MISSING, TextContent, ToolResult
from stoa.domain.tool import LocalBinding, Tool

Function = Callable[..., Any]


class LocalBackend(ToolBackend):
    """Calls registered functions. Synchronous ones run in a thread, so that they may block."""

    kind = "local"

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}

    def add(self, key: str, function: Function) -> JsonObject:
        """Register `function` and return the input schema that its signature implies.

        Raises InvalidInput when a parameter cannot be described in JSON Schema.
        """
        self._functions[key] = function
        return _Signature(function).schema

    def prepare(self, tool: Tool) -> BackendCall:
        if not isinstance(tool.binding, LocalBinding) or tool.binding.function not in self._functions:
            raise InvalidInput(f"tool {tool.name}: its function is not registered in this process")
        return _LocalCall(tool, self._functions[tool.binding.function])

    async def close(self) -> None:
        self._functions.clear()


class _Signature:
    """A function's parameters as a pydantic model: the schema outwards, typed values inwards."""

    def __init__(self, function: Function) -> None:
        fields: dict[str, Any] = {}
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
                raise InvalidInput(f"{function.__name__}({parameter}): use named parameters with type hints")
            annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
            fields[parameter.name] = (annotation, ... if parameter.default is parameter.empty else parameter.default)
        try:
            self.model = create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
            self.schema: JsonObject = self.model.model_json_schema()
        except PydanticUserError as caught:
            raise InvalidInput(f"{function.__name__}: its parameters need types that JSON can carry") from caught
        self.schema.pop("title", None)
        self.schema.setdefault("properties", {})


class _LocalCall(BackendCall):
    def __init__(self, tool: Tool, function: Function) -> None:
        self._tool = tool
        self._function = function
        self._is_async = inspect.iscoroutinefunction(function)
        self._model = _Signature(function).model
        self._encode = TypeAdapter(Any)

    async def __call__(self, arguments: JsonObject, context: CallContext) -> ToolResult:
        if context.permit.tool != self._tool.key:
            raise InvalidInput("the permit is for another tool")
        try:
            typed = self._model.model_validate(arguments)
        except ValidationError as caught:
            return ToolResult.error(f"Invalid arguments: {describe_validation_error(caught)}")
        values = {name: getattr(typed, name) for name in type(typed).model_fields}
        if self._is_async:
            return self._result(await self._function(**values))
        return self._result(await asyncio.to_thread(self._function, **values))

    def _result(self, value: Any) -> ToolResult:
        if isinstance(value, ToolResult):
            return value
        if isinstance(value, str):
            return ToolResult((TextContent(value),))
        plain = self._encode.dump_python(value, mode="json")
        text = "" if value is None else pydantic_core.to_json(plain).decode()
        return ToolResult((TextContent(text),), MISSING if value is None else plain)
