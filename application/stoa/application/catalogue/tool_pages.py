"""`stoa://tools/{name}`: a page about each tool of the caller's view, for people and agents that need more than a list
shows. It describes the input and the output of the tool, and nothing of its back end."""

from collections.abc import Iterator

import pydantic_core

from stoa.application.catalogue.caller_view import CallerView
from stoa.application.ports.tool_backend import BackendCall, CallContext, ToolBackend
from stoa.domain.errors import InvalidInput, ResourceNotFound
from stoa.domain.operations.binding import PageBinding
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject, as_object, is_array

TOOL_PAGES = Resource(
    uri="stoa://tools/{name}",
    name="tool",
    title="About a tool",
    description="What one of the tools does, its arguments, how it behaves and its limits.",
    mime_type="text/markdown",
    binding=PageBinding(),
)


class ToolPages(ToolBackend):
    kind = "page"

    def __init__(self, view: CallerView) -> None:
        self._view = view

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, PageBinding):
            raise InvalidInput(f"{tool.key}: its binding is {tool.binding.kind}, not page")
        return _PageCall(self._view)

    async def close(self) -> None:
        """Does nothing: there is no connection to release."""


class _PageCall(BackendCall):
    def __init__(self, view: CallerView) -> None:
        self._view = view

    async def __call__(self, arguments: JsonObject, context: CallContext) -> ToolResult:
        name: str = arguments["name"]
        tool = await self._view.one(Tool, context.principal, context.door, name)
        if tool is None:
            raise ResourceNotFound(TOOL_PAGES.template.expand({"name": name}))
        return ToolResult((TextContent(page(tool)),))


def page(tool: Tool) -> str:
    """The tool as Markdown."""
    return "\n".join(line for part in (_head, _arguments, _behaviour, _limits) for line in part(tool))


def _head(tool: Tool) -> Iterator[str]:
    yield f"# {_line(tool.title or tool.name)}"
    yield ""
    yield f"Tool `{tool.name}`" + (f", version {_line(tool.version)}" if tool.version else "")
    yield ""
    if tool.description:
        yield tool.description
        yield ""
    if tool.tags or tool.category:
        parts = [*([f"category {_line(tool.category)}"] if tool.category else []), *map(_line, tool.tags)]
        yield f"Filed under: {', '.join(parts)}"
        yield ""


def _arguments(tool: Tool) -> Iterator[str]:
    properties = as_object(tool.input_schema.get("properties"))
    required = tool.input_schema.get("required")
    demanded = set(map(str, required)) if is_array(required) else set[str]()
    yield "## Arguments"
    yield ""
    if not properties:
        yield "None are described."
        yield ""
        return
    yield "| name | type | required | description |"
    yield "|---|---|---|---|"
    for name, schema in properties.items():
        facts = as_object(schema)
        yield (
            f"| {_cell(name)} | {_cell(_type(facts))} | {'yes' if name in demanded else 'no'} "
            f"| {_cell(str(facts.get('description', '')))} |"
        )
    yield ""


def _behaviour(tool: Tool) -> Iterator[str]:
    hints = tool.hints
    effects = {
        "only reads": hints.read_only_hint,
        "destroys": hints.destructive_hint,
        "can be repeated without further effect": hints.idempotent_hint,
        "reaches beyond the organisation": hints.open_world_hint,
    }
    lines = [f"- {'' if value else 'not: '}{name}" for name, value in effects.items() if value is not None]
    yield "## Behaviour"
    yield ""
    yield from lines or ["Nothing is known."]
    yield ""


def _limits(tool: Tool) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield f"- needs the scope `{tool.access.value}`"
    yield f"- answers within {tool.timeout_seconds:g} s"
    if tool.rate_limit is not None:
        yield f"- {tool.rate_limit.requests_per_minute} calls a minute, {tool.rate_limit.burst} at once"
    if tool.is_premium:
        yield "- costs more than other tools"
    yield ""


def _type(schema: JsonObject) -> str:
    if "enum" in schema:
        return pydantic_core.to_json(schema["enum"]).decode()
    kind = schema.get("type", "any")
    return " or ".join(map(str, kind)) if is_array(kind) else str(kind)


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
