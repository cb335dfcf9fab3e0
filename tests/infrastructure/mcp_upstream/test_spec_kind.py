"""ToolSets and Tools that name an MCP server: what is recognised, who may start programs, and lists that change."""

import asyncio
import sys

import pytest
from tests.application.upstream import Tokens, oauth_tool
from tests.infrastructure.mcp_upstream.official_server import official
from tests.infrastructure.mcp_upstream.peers import (
    ADMIN,
    OFFICIAL,
    OFFICIAL_PROGRAM,
    call,
    gateway_with,
    handshake,
    message,
    result,
    served,
    stoa_server,
    text_of,
    tool_set,
)
from tests.infrastructure.rest.loopback import loopback

from stoa.application import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports import ConversionOptions, SpecPlace
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.operations.tool import Authentication, TokenGrant, Tool
from stoa.domain.origin import NamedOrigin
from stoa.infrastructure.mcp_upstream import McpBackend, McpSpecKind, McpUpstreams
from stoa.infrastructure.mcp_upstream.binding import McpBinding, McpServer, Program
from stoa.infrastructure.mcp_upstream.manifest import McpSource
from stoa.infrastructure.worker_process import ProcessExecutor
from stoa.interfaces.asgi import mcp_app


def place(**more):
    return SpecPlace(NamedOrigin("m.yaml"), InMemorySpecSource({}).fetch, **more)


@pytest.mark.parametrize(
    ("location", "url", "command", "transport"),
    [
        ("https://a.example/mcp", "https://a.example/mcp", None, "streamableHttp"),
        ("https://a.example/mcp/", "https://a.example/mcp/", None, "streamableHttp"),
        ("mcp+http://a.example/x", "http://a.example/x", None, "streamableHttp"),
        ("http://a.example/sse", "http://a.example/sse", None, "sse"),
        ("sse+https://a.example/y", "https://a.example/y", None, "sse"),
        ("stdio:npx -y 'a b'", None, "npx", "streamableHttp"),
        ("https://a.example/openapi.json", None, None, None),
        ("server.yaml", None, None, None),
    ],
)
def test_description_is_recognised_by_its_address(location, url, command, transport):
    kind = McpSpecKind(McpUpstreams(InMemoryCredentialSource()))
    assert kind.accepts(location, None) == (transport is not None)
    assert not kind.accepts(location, "openapi: 3.1.0")
    if transport is not None:
        source = kind.source_at(location)
        assert (source.url, source.command, source.transport) == (url, command, transport)
        if command:
            assert source.args == ("-y", "a b")


@pytest.mark.parametrize(
    ("mcp", "problem"),
    [
        ({}, "set exactly one of url and command"),
        ({"url": "https://a.example", "command": "x"}, "set exactly one of url and command"),
        (
            {"url": "https://a.example", "args": ["x"]},
            "args, directory, env and envSecretRefs are for a server with command",
        ),
        ({"command": "x", "headers": {"A": "b"}}, "transport, headers and tls are for a server with url"),
        ({"url": "ftp://a.example"}, "url"),
        ({"url": "https://user@a.example/"}, "url"),
        ({"url": "https://a.example", "headers": {"Mcp-Session-Id": "x"}}, "Mcp-Session-Id is set by the transport"),
        ({"url": "https://a.example", "protocolVersion": "2020-01-01"}, "protocolVersion"),
        ({"url": "https://a.example", "nonsense": 1}, "nonsense"),
    ],
)
async def test_manifest_that_cannot_work_is_refused(mcp, problem):
    with pytest.raises(InvalidInput, match=problem):
        async with gateway_with(tool_set(**mcp)):
            pass


async def test_program_is_started_for_the_platform_alone():
    kind = McpSpecKind(McpUpstreams(InMemoryCredentialSource()))
    source = McpSource(command=sys.executable)
    with pytest.raises(InvalidInput, match="for global manifests of the platform"):
        await kind.fetch(source, place(tenant=TenantId("acme")))
    backend = McpBackend(McpUpstreams(InMemoryCredentialSource()))
    binding = McpBinding(server=McpServer(program=Program(command=sys.executable)), name="x")
    for tool in (
        Tool(name="x", tenant=TenantId("acme"), binding=binding),
        Tool(name="x", is_by_tenant=True, binding=binding),
    ):
        with pytest.raises(InvalidInput, match="for global manifests of the platform"):
            backend.prepare(tool)
    manifest = tool_set(**OFFICIAL_PROGRAM)
    manifest["metadata"]["namespace"] = "tenant-acme"
    with pytest.raises(InvalidInput, match="for global manifests of the platform"):
        async with gateway_with(manifest):
            pass


async def test_tool_by_hand_binds_one_tool_of_a_server():
    tool = {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "Tool",
        "metadata": {"name": "plus"},
        "spec": {
            "mcp": {"command": sys.executable, "args": [OFFICIAL], "tool": "add"},
            "inputSchema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
        },
    }
    async with gateway_with(tool) as gateway:
        assert (await call(gateway, "plus", a=2, b=3)).result.structured == {"result": 5}
        assert gateway.registry.catalogue.find(None, "plus").access == "stoa:write"


async def test_explanation_shows_what_would_be_sent():
    async with stoa_server(Gateway()) as url:
        tool = Tool(name="t", binding=McpBinding(server=McpServer(url=url), name="theirs"))
        backend = McpBackend(McpUpstreams(InMemoryCredentialSource()))
        assert backend.prepare(tool).preview({"a": 1}) == {
            "url": url,
            "method": "tools/call",
            "params": {"name": "theirs", "arguments": {"a": 1}},
            "headers": {},
            "authentication": "none",
        }


async def test_description_is_equal_while_nothing_changes_and_is_converted_in_the_worker_process():
    executor = ProcessExecutor()
    upstreams = McpUpstreams(InMemoryCredentialSource())
    kind = McpSpecKind(upstreams)
    try:
        async with served(official().streamable_http_app()) as origin:
            source = McpSource(url=f"{origin}/mcp")
            first, second = [await kind.fetch(source, place()) for _ in range(2)]
            assert first.text == second.text
            gateway = Gateway(backends=[McpBackend(upstreams)], spec_kinds=[kind], executor=executor)
            await gateway.add_manifest(tool_set("o_", url=f"{origin}/mcp"))
            assert (await call(gateway, "o_add", a=1, b=1)).result.structured == {"result": 2}
            await gateway.close()
    finally:
        await upstreams.close()
        await executor.close()


async def test_server_that_is_away_keeps_its_last_good_tools():
    async with served(official().streamable_http_app()) as origin:
        upstreams = McpUpstreams(InMemoryCredentialSource())
        gateway = Gateway(backends=[McpBackend(upstreams)], spec_kinds=[McpSpecKind(upstreams)])
        await gateway.add_manifest(tool_set(url=f"{origin}/mcp", refreshInterval="1s"))
    kind = McpSpecKind(upstreams)
    with pytest.raises(Unavailable):
        await kind.fetch(McpSource(url=f"{origin}/mcp"), place())
    outcome = await call(gateway, "add", a=1, b=1)
    assert "nothing listens at its address" in text_of(outcome)
    await gateway.close()


async def test_server_behind_oauth2_is_not_asked_in_the_name_of_callers():
    kind = McpSpecKind(McpUpstreams(InMemoryCredentialSource()))
    grant = TokenGrant(type="tokenExchange", token_url="https://a.example/token", audience="a")
    with pytest.raises(InvalidInput, match="use clientCredentials"):
        await kind.fetch(
            McpSource(url="https://a.example/mcp"), place(authentication=Authentication(type="oauth2", grant=grant))
        )


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
async def test_server_behind_oauth2_is_asked_with_the_gateways_own_token(revision):
    upstream, tokens = Gateway(), []

    @upstream.tool
    def first() -> str:
        return "1"

    app = mcp_app(upstream, url="http://127.0.0.1/mcp", principal_of=lambda _: ADMIN)

    async def guarded(scope, receive, send):
        if scope["type"] == "http":
            tokens.append(dict(scope["headers"]).get(b"authorization"))
        if scope["type"] == "http" and tokens[-1] != f"Bearer {await access.token()}".encode():
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    at, tool = Tokens(), oauth_tool()
    access = at.tokens.own_access(tool.authentication, tool.tenant)
    upstreams = McpUpstreams(InMemoryCredentialSource())
    kind = McpSpecKind(upstreams)
    async with served(guarded) as origin:
        source = McpSource.model_validate({"url": f"{origin}/mcp", "protocolVersion": revision})
        asked = place(authentication=tool.authentication, tenant=tool.tenant, access=access)
        document = await kind.fetch(source, asked)
        await upstreams.close()
    conversion = kind.converter(source).convert(document, ConversionOptions())
    assert [each.name for each in conversion.tools] == ["first"]
    assert set(tokens) == {f"Bearer {await access.token()}".encode()}


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
async def test_tools_change_with_those_of_the_server(revision):
    upstream = Gateway()

    @upstream.tool
    def first() -> str:
        return "1"

    async with stoa_server(upstream) as url, gateway_with(tool_set(url=url, protocolVersion=revision)) as gateway:
        watching = asyncio.create_task(gateway.loader.watch())
        changed = asyncio.Event()
        gateway.registry.subscribe(lambda _: changed.set())

        @upstream.tool
        def second() -> str:
            return "2"

        try:
            async with asyncio.timeout(20):
                while gateway.registry.catalogue.find(None, "second") is None:
                    await changed.wait()
                    changed.clear()
            assert text_of(await call(gateway, "second")) == "2"
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def test_pages_of_a_list_are_all_read_and_their_number_is_bounded():
    def answered(seen):
        said = message(seen)
        if said.get("method") != "tools/list":
            return handshake(seen)
        number = int(said["params"].get("cursor", 0))
        more = {} if number == 3 and not endless else {"nextCursor": str(number + 1)}
        return result(seen, tools=[{"name": f"t{number}", "inputSchema": {"type": "object"}}], **more)

    endless = False
    async with loopback(answered) as server:
        async with gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
            assert [key.name for key in gateway.registry.catalogue.operations if key.kind == "tool"] == [
                "t0",
                "t1",
                "t2",
                "t3",
            ]
        endless = True
        with pytest.raises(InvalidInput, match="has more than"):
            async with gateway_with(tool_set(url=f"{server.url}/mcp")):
                pass
