"""Python functions of the embedding program as a back end."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import pydantic_core
from pydantic import ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError

from stoa.application.backends.context import Context
from stoa.application.backends.local_content import contents_of, messages_of
from stoa.application.backends.resource_access import NO_RESOURCES, ResourceAccess
from stoa.application.concurrency.fair_threads import FairThreads
from stoa.application.ports.tool_backend import BackendCall, CallContext, ToolBackend
from stoa.application.schemas.validation_error import describe_validation_error
from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import LocalBinding
from stoa.domain.results.result import TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject

Function = Callable[..., Any]


THREADS = 32
"""Threads for synchronous functions; a tenant has at most half."""


class LocalBackend(ToolBackend):
    """Calls registered functions. Synchronous ones may block: they run in `threads` of this back end, so that metering
    and other users of threads never wait for them."""

    kind = "local"

    def __init__(self, resources: ResourceAccess = NO_RESOURCES, *, threads: int = THREADS) -> None:
        self._resources = resources
        self._threads = FairThreads(threads, "stoa-function")
        self._functions: dict[str, _Registered] = {}

    def add(self, key: str, function: Function) -> JsonObject:
        """Register `function` and return the input schema that its signature implies.

        Raises InvalidInput when another function has this key, or a parameter cannot be described in JSON Schema.
        """
        registered = self._functions.get(key)
        if registered is not None and registered.function is not function:
            raise InvalidInput(f"{key}: a function of this name is registered already; rename one of them")
        signature, is_async = _Signature(function), _is_async(function)
        if signature.context is not None and not is_async:
            raise InvalidInput(f"{key}: a function with a Context must be `async def`; only there it can be awaited")
        self._functions[key] = _Registered(function, signature, is_async)
        return signature.schema

    def remove(self, key: str) -> None:
        """Forget a function; calls that were prepared with it go on."""
        self._functions.pop(key, None)

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, LocalBinding) or tool.binding.function not in self._functions:
            raise InvalidInput(f"{tool.kind} {tool.identifier}: its function is not registered in this process")
        return _LocalCall(tool, self._functions[tool.binding.function], self._resources, self._threads)

    async def close(self) -> None:
        self._functions.clear()
        self._threads.close()


@dataclass(frozen=True, slots=True)
class _Registered:
    function: Function
    signature: "_Signature"
    is_async: bool


class _Signature:
    """A function's parameters as a pydantic model: it gives the schema and converts JSON to typed values."""

    def __init__(self, function: Function) -> None:
        name = name_of(function)
        fields: dict[str, Any] = {}
        self.parameters: dict[str, str] = {}
        """Parameter names by field. Fields have names of their own, because a model reserves some names that a
        parameter may have."""
        self.context: str | None = None
        """The parameter that gets the Context; it is not an argument of the tool."""
        try:
            parameters = inspect.signature(function, eval_str=True).parameters.values()
        except (NameError, TypeError, ValueError) as caught:
            raise InvalidInput(f"{name}: its signature cannot be read; its type hints must be importable") from caught
        for parameter in parameters:
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
                raise InvalidInput(f"{name}({parameter}): use named parameters with type hints")
            if parameter.annotation is Context and self.context is None:
                self.context = parameter.name
                continue
            annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
            default = ... if parameter.default is parameter.empty else parameter.default
            field = f"p{len(fields)}"
            fields[field] = (Annotated[annotation, Field(alias=parameter.name)], default)
            self.parameters[field] = parameter.name
        try:
            self.model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
            self.schema: JsonObject = self.model.model_json_schema()
        except PydanticUserError as caught:
            raise InvalidInput(f"{name}: its parameters need types that JSON can carry") from caught
        self.schema.pop("title", None)
        self.schema.setdefault("properties", {})


def name_of(function: Function) -> str:
    """The function's name; for a partial or a callable object, that of its class."""
    return getattr(function, "__name__", type(function).__name__)


def _is_async(function: Function) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object whose __call__ is `async def`
    )


class _LocalCall(BackendCall):
    def __init__(
        self, tool: Operation, registered: _Registered, resources: ResourceAccess, threads: FairThreads
    ) -> None:
        self._tool = tool
        self._threads = threads
        self._resources = resources
        self._function = registered.function
        self._is_async = registered.is_async
        self._signature = registered.signature

    async def __call__(self, arguments: JsonObject, context: CallContext) -> ToolResult:
        try:
            typed = self._signature.model.model_validate(arguments)
        except ValidationError as caught:
            problem = describe_validation_error(caught)
            if self._tool.kind != "tool":  # only a tool's answer can say so itself
                raise InvalidArguments([Violation("", problem)]) from caught
            return ToolResult.error(f"Invalid arguments: {problem}")
        values = {name: getattr(typed, field) for field, name in self._signature.parameters.items()}
        if self._signature.context is not None:
            values[self._signature.context] = Context(context, self._resources)
        if self._is_async:
            return self._result(await self._function(**values))
        return self._result(await self._threads.run(context.principal.tenant, partial(self._function, **values)))

    def _result(self, value: Any) -> ToolResult:
        if self._tool.kind != "tool":
            return contents_of(value) if self._tool.kind == "resource" else messages_of(value)
        if isinstance(value, ToolResult):
            return value
        if isinstance(value, str):
            return ToolResult((TextContent(value.encode("utf-8", "replace").decode()),))
        if value is None:
            return ToolResult((TextContent(""),))
        text = pydantic_core.to_json(value, inf_nan_mode="null")  # what JSON cannot say would break the answer
        return ToolResult((TextContent(text.decode()),), pydantic_core.from_json(text))
