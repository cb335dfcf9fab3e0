"""A server with everything that a tool can do towards its client: content of each kind, progress, log messages, forms,
pages, sampling with tools, roots, several rounds, tasks, arguments in headers. The official MCP conformance suite is
run against it.

Run it with `python examples/everything.py [PORT]`, or with `--stdio` for a client that starts it itself. It needs the
extra `server`. Everybody may call it, on loopback.
"""

import asyncio
import base64
import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import uvicorn
from dishka import AsyncContainer
from pydantic import Field

from stoa.application import Context, Gateway, ToolResult
from stoa.application.manifests.parse import RateLimitManifest
from stoa.domain.client_requests.client_request import (
    ClientCapabilities,
    ClientRequest,
    ElicitationRequest,
    RootsRequest,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    ToolUseResult,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.results.result import AudioContent, EmbeddedResource, ImageContent, PromptMessage, TextContent
from stoa.interfaces.bootstrap import CommandLine, build_container, serve_stdio
from stoa.interfaces.http.guard import Guard
from stoa.interfaces.settings import Settings

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
PAUSE_SECONDS = 0.05


def form(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


NAME = form(name={"type": "string"})


def add_content_tools(gateway: Gateway) -> None:
    """Results of each kind."""

    @gateway.tool(name="a_ping")
    def ping() -> str:
        """Harmless; sorts first."""
        return "pong"

    @gateway.tool(name="test_simple_text")
    def simple_text() -> str:
        """Text."""
        return "This is a simple text response for testing."

    @gateway.tool(name="test_image_content")
    def image() -> ToolResult:
        """An image."""
        return ToolResult((ImageContent(PNG, "image/png"),))

    @gateway.tool(name="test_audio_content")
    def audio() -> ToolResult:
        """Audio."""
        return ToolResult((AudioContent(WAV, "audio/wav"),))

    @gateway.tool(name="test_embedded_resource")
    def embedded() -> ToolResult:
        """An embedded resource."""
        text = "This is an embedded resource content."
        return ToolResult((EmbeddedResource("test://embedded-resource", "text/plain", text=text),))

    @gateway.tool(name="test_multiple_content_types")
    def mixed() -> ToolResult:
        """Text, an image and a resource."""
        data = '{"test":"data","value":123}'
        return ToolResult(
            (
                TextContent("Multiple content types test:"),
                ImageContent(PNG, "image/png"),
                EmbeddedResource("test://mixed-content-resource", "application/json", text=data),
            )
        )

    @gateway.tool(name="test_error_handling")
    def failing() -> ToolResult:
        """An error."""
        return ToolResult.error("This tool intentionally returns an error for testing")

    @gateway.tool(name="test_x_mcp_header")
    def routed(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        """An argument that clients repeat in a header."""
        return f"served in {region}"

    def annotated(
        name: str | None = None,
        address: dict[str, Any] | None = None,
        contactMethod: str | None = None,  # noqa: N803  # the argument's name on the wire
        phone: str | None = None,
        email: str | None = None,
    ) -> str:
        return f"{name}, {address}: {contactMethod}, {phone or email}"

    gateway.tool(
        annotated, name="json_schema_2020_12_tool", description="All of JSON Schema.", input_schema=SCHEMA_2020_12
    )


SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def add_news_tools(gateway: Gateway) -> None:
    """Progress and log messages."""

    @gateway.tool(name="test_tool_with_progress")
    async def progressing(context: Context) -> str:
        """Tells how far it is."""
        for value in (0, 50, 100):
            await context.progress(value, 100, f"Completed step {value} of 100")
            await asyncio.sleep(2.2 * PAUSE_SECONDS)  # more than ten a second would not all be sent
        return "done"

    @gateway.tool(name="test_tool_with_logging")
    async def logging(context: Context) -> str:
        """Logs."""
        for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await context.log("info", message)
            await asyncio.sleep(PAUSE_SECONDS)
        return "done"

    @gateway.tool(name="test_reconnection")
    async def reconnecting(context: Context) -> str:
        """Lets go of the connection and answers later."""
        await context.hang_up()
        await asyncio.sleep(4 * PAUSE_SECONDS)
        return "Reconnection test completed"

    @gateway.tool(name="test_logging_tool")
    async def quiet(context: Context) -> str:
        """Logs, to clients that listen."""
        await context.log("info", "working")
        return "done"

    @gateway.tool(name="test_trigger_tool_change")
    async def change_tools() -> str:
        """Changes the list of tools."""
        gateway.tool(lambda: "new", name=f"added_{len(gateway.registry.catalogue)}", description="New.")
        return "changed"

    @gateway.tool(name="test_trigger_prompt_change")
    async def change_prompts() -> str:
        """Changes the list of prompts."""
        gateway.prompt(lambda: "new", name=f"added_{len(gateway.registry.catalogue)}", description="New.")
        return "changed"


def add_asking_tools(gateway: Gateway) -> None:
    """Questions to the user and to the client's model."""

    @gateway.tool(name="test_sampling")
    async def sampling(context: Context, prompt: str) -> str:
        """Asks the client's model."""
        return f"LLM response: {(await context.sample(prompt, max_tokens=100)).text}"

    @gateway.tool(name="test_missing_capability")
    async def needs_sampling(context: Context) -> str:
        """Cannot do without sampling."""
        return (await context.sample("Hello", max_tokens=10)).text

    @gateway.tool(name="test_elicitation")
    async def elicitation(context: Context, message: str) -> str:
        """Asks the user."""
        fields = form(
            username={"type": "string", "description": "User's response"},
            email={"type": "string", "description": "User's email address"},
        )
        answer = await context.elicit(message, fields)
        return f"User response: action={answer.action}, content={dict(answer.content)}"

    @gateway.tool(name="test_elicitation_sep1034_defaults")
    async def defaults(context: Context) -> str:
        """A form with defaults."""
        answer = await context.elicit("Please review and update the form fields with defaults", DEFAULTS)
        return f"Elicitation completed: action={answer.action}, content={dict(answer.content)}"

    @gateway.tool(name="test_elicitation_sep1330_enums")
    async def enums(context: Context) -> str:
        """A form with choices."""
        answer = await context.elicit("Please select options from the enum fields", CHOICES)
        return f"Elicitation completed: action={answer.action}, content={dict(answer.content)}"

    @gateway.tool(name="test_streaming_elicitation")
    async def streaming(context: Context) -> str:
        """Asks the user, over a stream."""
        return (await context.elicit("Who are you?", NAME)).action

    @gateway.tool
    async def agent(context: Context, task: str) -> str:
        """Has the client's model work on a task with a tool."""
        clock = SamplingTool("clock", "Tells the time of day, UTC.", {"type": "object", "properties": {}})
        messages = [SamplingMessage("user", TextContent(task))]
        while True:  # the gateway ends it: the client requests of one call are limited
            answer = await context.sample(messages, max_tokens=500, tools=[clock], key=f"turn-{len(messages)}")
            if not answer.tool_uses:
                return answer.text
            now = TextContent(datetime.now(UTC).strftime("%H:%M"))
            results = tuple(ToolUseResult(use.id, (now,)) for use in answer.tool_uses)
            messages += [answer.message, SamplingMessage("user", results)]

    @gateway.tool
    async def connect(context: Context, service: str) -> str:
        """Sends the user to a page, where a password may be asked for."""
        page = f"https://login.example/{quote(service, safe='')}"
        answer = await context.elicit_url(f"Log in to {service} to go on", page, key="login")
        return f"The user said: {answer.action}"


DEFAULTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
}


def _titled(*titles: str) -> list[dict[str, str]]:
    return [{"const": f"value{number}", "title": title} for number, title in enumerate(titles, 1)]


_OPTIONS = ["option1", "option2", "option3"]
_TITLES = _titled("First Option", "Second Option", "Third Option")
_LEGACY = ["Option One", "Option Two", "Option Three"]
CHOICES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": _OPTIONS},
        "titledSingle": {"type": "string", "oneOf": _TITLES},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": _LEGACY},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
        "titledMulti": {"type": "array", "items": {"anyOf": _TITLES}},
    },
}


def add_round_tools(gateway: Gateway) -> None:
    """Tools that take several rounds in the stateless era."""
    prefix = "test_input_required_result_"
    confirm = form(ok={"type": "boolean"})

    @gateway.tool(name=f"{prefix}elicitation")
    async def greet(context: Context) -> str:
        """Asks for a name."""
        answer = await context.elicit("What is your name?", NAME, key="user_name")
        return f"Hello, {answer.content['name']}!" if answer.action == "accept" else "Hello!"

    @gateway.tool(name=f"{prefix}sampling")
    async def capital(context: Context) -> str:
        """Asks the model."""
        question = "What is the capital of France?"
        return (await context.sample(question, max_tokens=100, key="capital_question")).text

    @gateway.tool(name=f"{prefix}list_roots")
    async def roots(context: Context) -> str:
        """Asks for the client's folders."""
        return ", ".join(root.uri for root in await context.list_roots(key="client_roots"))

    async def confirmed(context: Context) -> str:
        return f"state-ok: {(await context.elicit('Go on?', confirm, key='confirm')).action}"

    for name in ("request_state", "tampered_state"):
        gateway.tool(confirmed, name=f"{prefix}{name}", description="Keeps state between two rounds.")

    @gateway.tool(name=f"{prefix}multiple_inputs")
    async def several(context: Context) -> str:
        """Makes several client requests at once."""
        answers = await context.ask(_client_requests(ClientCapabilities(sampling=True, elicitation=True, roots=True)))
        return f"answered: {', '.join(sorted(answers))}"

    @gateway.tool(name=f"{prefix}multi_round")
    async def rounds(context: Context) -> str:
        """Asks one question after the other."""
        name = await context.elicit("Step 1: what is your name?", NAME, key="step1")
        colour = await context.elicit("Step 2: which colour?", form(color={"type": "string"}), key="step2")
        return f"{dict(name.content)} {dict(colour.content)}"

    @gateway.tool(name=f"{prefix}capabilities")
    async def declared(context: Context) -> str:
        """Asks for what the client declared."""
        answers = await context.ask(_client_requests(context.capabilities))
        return f"answered: {', '.join(sorted(answers))}"


def add_task_tools(gateway: Gateway) -> None:
    """Tools whose calls go on in the background, for clients that can ask for tasks."""

    @gateway.tool
    async def greet(name: str) -> str:
        """Never a task."""
        return f"Hello, {name}!"

    @gateway.tool(tasks="optional", timeout_seconds=120)
    async def slow_compute(context: Context, seconds: float, label: str = "") -> str:
        """Takes its time."""
        await context.progress(0, seconds, f"Computing {label}")
        await asyncio.sleep(seconds)
        return f"{label}: computed in {seconds:g} s"

    @gateway.tool(tasks="required")
    async def failing_job() -> ToolResult:
        """Ends with an error result."""
        await asyncio.sleep(1)
        return ToolResult.error("The job failed, as it always does")

    @gateway.tool(tasks="optional")
    async def protocol_error_job() -> str:
        """Ends with a protocol error."""
        await asyncio.sleep(PAUSE_SECONDS)
        raise InvalidInput("This job cannot be done")

    @gateway.tool(tasks="optional")
    async def confirm_delete(context: Context, filename: str = "") -> str:
        """Asks before it deletes."""
        answer = await context.elicit(f"Delete {filename}?", form(confirm={"type": "boolean"}), key="confirm")
        return f"{'Deleted' if answer.content.get('confirm') else 'Kept'} {filename}"

    @gateway.tool(tasks="optional")
    async def multi_input(context: Context) -> str:
        """Makes two client requests at once."""
        either = {"type": "object", "properties": {"name": {"type": "string"}, "confirm": {"type": "boolean"}}}
        asked: dict[str, ClientRequest] = {
            "first": ElicitationRequest("What is your name?", either),
            "second": ElicitationRequest("Go on?", either),
        }
        return f"answered: {', '.join(sorted(await context.ask(asked)))}"

    @gateway.tool(name="test_tool_with_task", tasks="explicit")
    async def with_task(context: Context) -> str:
        """Asks, and then goes on in the background."""
        answer = await context.elicit("What is your name?", NAME, key="user_name")
        await context.continue_as_task()
        await asyncio.sleep(PAUSE_SECONDS)
        return f"Hello, {answer.content.get('name', 'stranger')}!"


def add_resources(gateway: Gateway) -> None:
    """Things to read: written, binary, from a template."""

    @gateway.resource("test://static-text", name="static-text", mime_type="text/plain")
    def text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @gateway.resource("test://static-binary", name="static-binary", mime_type="image/png")
    def binary() -> bytes:
        """An image."""
        return base64.b64decode(PNG)

    @gateway.resource("test://watched-resource", name="watched", mime_type="text/plain")
    def watched() -> str:
        """Something to subscribe to."""
        return "This resource can be watched."

    @gateway.resource("test://template/{id}/data", name="template", mime_type="application/json")
    def data(id: str) -> str:  # noqa: A002  # the template's variable
        """Data of one thing."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def add_prompts(gateway: Gateway) -> None:
    """Prompts: plain, with arguments, with a resource, with an image, with a question of their own."""

    @gateway.prompt(name="test_simple_prompt")
    def simple() -> str:
        """One message."""
        return "This is a simple prompt for testing."

    @gateway.prompt(name="test_prompt_with_arguments", completions={"arg1": ["paris", "park", "party"]})
    def with_arguments(arg1: str, arg2: str) -> str:
        """Repeats its arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @gateway.prompt(name="test_prompt_with_embedded_resource")
    def with_resource(resourceUri: str) -> list[PromptMessage]:  # noqa: N803  # the argument's name
        """Carries a resource."""
        embedded = EmbeddedResource(resourceUri, "text/plain", text="Embedded resource content for testing.")
        request = TextContent("Please process the embedded resource above.")
        return [PromptMessage("user", embedded), PromptMessage("user", request)]

    @gateway.prompt(name="test_prompt_with_image")
    def with_image() -> list[PromptMessage]:
        """Carries an image."""
        request = TextContent("Please analyze the image above.")
        return [PromptMessage("user", ImageContent(PNG, "image/png")), PromptMessage("user", request)]

    @gateway.prompt(name="test_input_required_result_prompt")
    async def asking(context: Context) -> str:
        """Asks before it answers."""
        question = form(context={"type": "string"})
        said = await context.elicit("What is it about?", question, key="user_context")
        return f"The context is {dict(said.content or {}).get('context')}."


def _client_requests(can: ClientCapabilities) -> dict[str, ClientRequest]:
    prompt = (SamplingMessage("user", TextContent("Write a greeting")),)
    requests: dict[str, ClientRequest] = {}
    if can.elicitation:
        requests["user_name"] = ElicitationRequest("What is your name?", NAME)
    if can.sampling:
        requests["greeting"] = SamplingRequest(messages=prompt, max_tokens=100)
    if can.roots:
        requests["client_roots"] = RootsRequest()
    return requests


ADDITIONS = (
    add_content_tools,
    add_news_tools,
    add_asking_tools,
    add_round_tools,
    add_task_tools,
    add_resources,
    add_prompts,
)


def add_everything(gateway: Gateway) -> None:
    for add in ADDITIONS:
        add(gateway)


async def everything(port: int) -> AsyncContainer:
    generous = RateLimitManifest.model_validate({"requestsPerMinute": 6_000_000, "burst": 100_000})
    settings = Settings(
        port=port,
        identity_provider="none",
        stoa_caller_limits={"viewer": generous},
        mcp_profile="faithful",  # the suite wants schemas as they were declared
    )
    container = build_container(settings, CommandLine())
    gateway = await container.get(Gateway)
    add_everything(gateway)
    return container


async def over_stdio() -> None:
    container = await everything(8080)
    try:
        await serve_stdio(container)
    finally:
        await container.close()


async def over_http(port: int) -> None:
    container = await everything(port)
    settings, app = await container.get(Settings), await container.get(Guard)
    config = uvicorn.Config(app, host=settings.host, port=port, lifespan="on", access_log=False, log_level="warning")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    argument = sys.argv[1] if len(sys.argv) > 1 else "8080"
    asyncio.run(over_stdio() if argument == "--stdio" else over_http(int(argument)))
