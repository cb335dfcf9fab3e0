"""Calls of upstream MCP servers: official servers in both eras, over each transport, and a second gateway."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.infrastructure.mcp_upstream.official_server import official
from tests.infrastructure.mcp_upstream.peers import (
    ADMIN,
    ALL,
    BOB,
    OFFICIAL_PROGRAM,
    VIEWER,
    call,
    gateway_with,
    served,
    stoa_server,
    text_of,
    tool_set,
)

from stoa.application import Context, Gateway
from stoa.application.catalogue.complete_argument import CompletionQuery
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.domain.client_requests.client_request import (
    ElicitationAnswer,
    ElicitationRequest,
    Root,
    RootsAnswer,
    SamplingAnswer,
)
from stoa.domain.metering.event import Status
from stoa.domain.results.content_notes import ContentNotes
from stoa.domain.results.result import EmbeddedResource, ImageContent, PromptMessage, TextContent, ToolResult
from stoa.infrastructure.mcp_upstream.notes import content_notes
from stoa.testing.client_channel import InMemoryClientChannel, InMemoryRoundChannel

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
REVISIONS = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]


def answering(key, request):
    match request:
        case ElicitationRequest():
            return ElicitationAnswer("accept", {"name": "Ada"})
        case _ if hasattr(request, "max_tokens"):
            return SamplingAnswer((TextContent("a thought"),), "model-1", stop_reason="endTurn")
        case _:
            return RootsAnswer((Root("file:///work", "work"),))


@pytest.fixture(params=REVISIONS)
def revision(request):
    return request.param


@asynccontextmanager
async def over_http(app, path, prefix="", sink=None, **mcp):
    async with (
        served(app) as origin,
        gateway_with(tool_set(prefix, url=f"{origin}{path}", **mcp), sink=sink) as gateway,
    ):
        yield gateway


@asynccontextmanager
async def over(transport, revision, sink=None):
    """A gateway whose upstream is the official server, over this transport."""
    match transport:
        case "stdio":
            async with gateway_with(tool_set(**OFFICIAL_PROGRAM, protocolVersion=revision), sink=sink) as gateway:
                yield gateway
        case "sse":
            app = official().sse_app()
            async with over_http(app, "/sse", sink=sink, protocolVersion=revision, transport="sse") as gateway:
                yield gateway
        case _:
            app = official().streamable_http_app()
            async with over_http(app, "/mcp", sink=sink, protocolVersion=revision) as gateway:
                yield gateway


@pytest.mark.parametrize("transport", ["http", "json", "stateless", "stdio", "sse"])
async def test_official_server_is_called_over_every_transport(transport):
    app = official()
    match transport:
        case "stdio":
            async with gateway_with(tool_set("o_", **OFFICIAL_PROGRAM)) as gateway:
                await _check_official(gateway)
        case "sse":
            async with over_http(app.sse_app(), "/sse", "o_", transport="sse") as gateway:
                await _check_official(gateway)
        case _:
            options = {"json_response": transport == "json", "stateless_http": transport == "stateless"}
            async with over_http(app.streamable_http_app(**options), "/mcp", "o_") as gateway:
                await _check_official(gateway)


async def _check_official(gateway):
    assert [*gateway.loader.findings] == []
    added = await call(gateway, "o_add", VIEWER, a=1, b=2)
    assert (added.status, added.result.structured, text_of(added)) == (Status.SUCCESS, {"result": 3}, "3")
    assert (await call(gateway, "o_add", VIEWER, a="x", b=2)).status is Status.INVALID
    failed = await call(gateway, "o_fail")
    assert failed.status is Status.ERROR
    assert failed.result.is_error
    assert (await call(gateway, "o_destroy", VIEWER)).status is Status.UNAUTHORIZED
    read = await call(gateway, "o+demo://one", kind="resource")
    assert read.result.content == (EmbeddedResource("o+demo://one", "text/plain", text="one"),)
    numbered = await call(gateway, "o+demo://number/a%20b", kind="resource")
    assert numbered.result.content[0].text == "number a b"
    assert numbered.result.content[0].uri == "o+demo://number/a%20b"
    said = await call(gateway, "o_hello", kind="prompt", name="Bob")
    assert said.result.messages == (PromptMessage("user", TextContent("Say hello to Bob")),)


async def test_tools_of_a_server_keep_title_schema_and_annotations():
    async with (
        served(official().streamable_http_app()) as origin,
        gateway_with(tool_set(url=f"{origin}/mcp")) as gateway,
    ):
        tool = gateway.registry.catalogue.find(None, "add")
        assert tool.description == "Adds."
        assert tool.input_schema["properties"]["b"]["description"] == "The other one."
        assert tool.input_schema["required"] == ["a", "b"]
        assert tool.output_schema["properties"] == {"result": {"title": "Result", "type": "integer"}}
        assert (tool.hints.read_only_hint, tool.hints.idempotent_hint, tool.access) == (True, True, "stoa:read")
        assert gateway.registry.catalogue.find(None, "destroy").access == "stoa:admin"
        assert gateway.registry.catalogue.find(None, "fail").access == "stoa:write"


@pytest.mark.parametrize("transport", ["http", "stdio", "sse"])
@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
async def test_progress_and_log_messages_of_a_server_reach_the_client(transport, era):
    if transport == "sse" and era == "2026-07-28":
        pytest.skip("the transport is older than the era")
    channel = InMemoryClientChannel(ALL, answering)
    async with over(transport, era) as gateway:
        outcome = await call(gateway, "report", channel=channel)
    assert text_of(outcome) == "reported"
    assert channel.progressed == [(1, 2, "half"), (2, 2, "whole")]
    assert channel.logged == [("info", "working", None)]


@pytest.mark.parametrize("transport", ["http", "stdio", "sse"])
async def test_client_requests_of_a_handshake_server_reach_the_client_and_are_metered(transport):
    channel, sink = InMemoryClientChannel(ALL, answering), InMemoryMeteringSink()
    async with over(transport, "2025-11-25", sink) as gateway:
        greeted = await call(gateway, "greet", channel=channel)
        assert text_of(greeted) == "Hello, Ada!"
        assert [event.event_id for event in sink.events()] == [f"{greeted.event.event_id}.1", greeted.event.event_id]
        assert text_of(await call(gateway, "think", channel=channel)) == "thought: a thought"


async def test_client_without_the_capability_makes_the_server_fail_and_not_the_gateway():
    async with over("http", "2025-11-25") as gateway:
        outcome = await call(gateway, "greet")
        assert outcome.status is Status.ERROR
        assert outcome.result.is_error


async def test_sessions_are_shared_by_no_two_principals():
    async with over("http", "2025-11-25") as gateway:
        ada, bob, ada_again = [text_of(await call(gateway, "session", each)) for each in (ADMIN, BOB, ADMIN)]
        assert ada == ada_again != bob
        assert "(none)" not in {ada, bob}


async def test_programs_are_shared_by_no_two_principals_unless_the_manifest_says_so():
    async with gateway_with(tool_set(**OFFICIAL_PROGRAM, protocolVersion="2025-11-25")) as gateway:
        ann, ann_again, bob = [text_of(await call(gateway, "process", each)) for each in (ADMIN, ADMIN, BOB)]
        assert ann == ann_again != bob
    shared = tool_set(**OFFICIAL_PROGRAM, protocolVersion="2025-11-25", sessions="shared")
    async with gateway_with(shared) as gateway:
        assert text_of(await call(gateway, "process", ADMIN)) == text_of(await call(gateway, "process", BOB))


def asking_gateway():
    upstream = Gateway()

    @upstream.tool
    async def greet(context: Context) -> str:
        answer = await context.elicit("Who are you?", NAME)
        roots = await context.list_roots()
        return f"Hello, {answer.content['name']} in {roots[0].uri}!"

    @upstream.tool
    async def lacking(context: Context) -> str:
        return (await context.sample("x", max_tokens=3)).text

    @upstream.tool
    def echo(text: str) -> dict[str, str]:
        return {"text": text}

    @upstream.resource("notes://{year}", completions={"year": ("2025", "2026", "1999")})
    def notes(year: str) -> str:
        return f"in {year}"

    return upstream


@pytest.mark.parametrize("rounds", [False, True])
async def test_client_requests_pass_between_all_eras(revision, rounds):
    async with (
        stoa_server(asking_gateway()) as url,
        gateway_with(tool_set(url=url, protocolVersion=revision)) as gateway,
    ):
        if revision == "2025-03-26":  # has no elicitation
            assert (await call(gateway, "greet", channel=InMemoryClientChannel(ALL, answering))).result.is_error
            return
        if not rounds:
            channel = InMemoryClientChannel(ALL, answering)
            assert text_of(await call(gateway, "greet", channel=channel)) == "Hello, Ada in file:///work!"
            return
        answers, outcome = {}, None
        for _ in range(4):
            outcome = await call(gateway, "greet", channel=InMemoryRoundChannel(ALL, answers))
            if outcome.status is not Status.INPUT_REQUIRED:
                break
            answers |= {key: answering(key, request) for key, request in outcome.client_requests.items()}
        assert text_of(outcome) == "Hello, Ada in file:///work!"


async def test_missing_capability_is_told_as_by_a_tool_of_the_gateway():
    async with stoa_server(asking_gateway()) as url, gateway_with(tool_set(url=url)) as gateway:
        outcome = await call(gateway, "lacking", channel=InMemoryClientChannel(ALL.__class__(), answering))
        assert outcome.error.code == "client_cannot"
        assert outcome.error.missing == ("sampling",)


async def test_annotations_and_meta_of_content_are_kept_but_for_what_is_the_gateways_or_mcps_own(revision):
    upstream = Gateway()
    spoofed = {"dev.gostoa/coerced": ["/a"], "io.modelcontextprotocol/serverInfo": {}, "mcp.dev/x": 1}
    own = {"example.com/score": {"n": [1]}, "plain": "x"}
    notes = ContentNotes(("user",), 0.5, "2026-01-02T03:04:05Z", {**own, **spoofed})

    @upstream.tool
    def noted() -> ToolResult:
        blocks = (
            TextContent("a", notes),
            ImageContent("AAAA", "image/png", ContentNotes(meta={"large": "x" * 20_000})),
            EmbeddedResource("notes://a", "text/plain", "b", notes=ContentNotes(priority=1.0)),
        )
        return ToolResult(blocks, meta={**own, **spoofed})

    @upstream.resource("notes://all")
    def notes_resource() -> ToolResult:
        return ToolResult((EmbeddedResource("notes://all", "text/plain", "b", notes=notes),))

    has_meta = revision != "2025-03-26"
    expected = ContentNotes(("user",), 0.5, "2026-01-02T03:04:05Z", own) if has_meta else ContentNotes(("user",), 0.5)
    async with stoa_server(upstream) as url, gateway_with(tool_set(url=url, protocolVersion=revision)) as gateway:
        result = (await call(gateway, "noted")).result
        assert result.content[0].notes == expected
        assert result.content[1].notes is None
        assert result.content[2].notes == ContentNotes(priority=1.0)
        assert result.meta == own
        read = await gateway.invoke("notes://all", {}, ADMIN, kind="resource")
        assert read.result.content[0].notes == ContentNotes(meta=own)


@pytest.mark.parametrize(
    "annotations",
    [
        {"priority": 2},
        {"priority": "high"},
        {"priority": float("inf")},
        {"priority": True},
        {"audience": "user"},
        {"audience": ["root"]},
        {"lastModified": "yesterday"},
        {"lastModified": 5},
        [],
        "x",
    ],
)
def test_annotations_that_are_none_are_dropped(annotations):
    assert content_notes({"annotations": annotations}) is None


async def test_completion_is_the_servers():
    async with stoa_server(asking_gateway()) as url, gateway_with(tool_set(url=url)) as gateway:
        query = CompletionQuery(kind="resource", name="notes://{year}", argument="year", value="20")
        listed = await gateway.complete_argument.execute(ADMIN, query, "library")
        assert listed.values == ("2025", "2026")


async def test_cancelled_call_cancels_the_upstream_and_the_session_goes_on(revision):
    reached, released = asyncio.Event(), asyncio.Event()
    upstream = Gateway()

    @upstream.tool
    async def wait() -> str:
        reached.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            released.set()

    @upstream.tool
    def echo(text: str) -> dict[str, str]:
        return {"text": text}

    async with stoa_server(upstream) as url, gateway_with(tool_set(url=url, protocolVersion=revision)) as gateway:
        waiting = asyncio.create_task(call(gateway, "wait"))
        async with asyncio.timeout(10):
            await reached.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await released.wait()
        assert text_of(await call(gateway, "echo", text="x")) == '{"text":"x"}'
