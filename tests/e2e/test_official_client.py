"""The official Python client against the demo catalogue, in both eras of the protocol."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ImageContent, PromptReference, TextContent, TextResourceContents, Tool
from tests.e2e.processes import GatewayProcess, asgi_upstream, serving

from stoa.interfaces.demo.catalogue_files import write_catalogue
from stoa.interfaces.demo.upstream import BILLING_API_KEY, build_upstream

MODES = ["legacy", "auto", "2026-07-28"]
NEW_PET = {"name": "Rex", "species": "dog", "ageMonths": 5, "priceEur": 250}
ALPHA = ("tenant-admin", "team-alpha")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    secret = {"STOA_SECRET__TEAM_ALPHA__BILLING_API__APIKEY": BILLING_API_KEY}
    gateway = GatewayProcess(tmp_path_factory.mktemp("demo"), secret | {"RATE_LIMIT_ENABLED": "false"})
    with asgi_upstream(build_upstream()) as upstream_url:
        write_catalogue(gateway.catalogue, upstream_url)
        with serving(gateway):
            yield gateway


@asynccontextmanager
async def connected(
    gateway: GatewayProcess, mode: str, role: str = "cpi-admin", tenant: str | None = None
) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {gateway.token(role, tenant)}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=20) as http:
        transport = streamable_http_client(f"{gateway.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, read_timeout_seconds=20) as client:
            yield client


async def all_tools(client: Client) -> dict[str, Tool]:
    listed: dict[str, Tool] = {}
    page = await client.list_tools()
    listed.update({tool.name: tool for tool in page.tools})
    while page.next_cursor is not None:
        page = await client.list_tools(cursor=page.next_cursor)
        listed.update({tool.name: tool for tool in page.tools})
    return listed


@pytest.mark.parametrize(
    ("mode", "revision"), [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")]
)
async def test_the_client_agrees_on_the_newest_revision_of_its_era(
    gateway: GatewayProcess, mode: str, revision: str
) -> None:
    async with connected(gateway, mode) as client:
        assert client.protocol_version == revision
        if mode != "2026-07-28":  # a pinned revision asks the server nothing
            assert client.server_info is not None
            assert client.server_info.name == "stoa-mcp-gateway"
            assert "STOA MCP Gateway" in (client.instructions or "")
            assert client.server_capabilities.tools is not None


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_is_listed_with_all_that_its_manifest_says(gateway: GatewayProcess, mode: str) -> None:
    async with connected(gateway, mode, *ALPHA) as client:
        tool = (await all_tools(client))["crm-search"]
    assert tool.title == "Search customers"
    assert tool.description is not None
    assert tool.description.startswith("Finds customers by words")
    assert tool.annotations is not None
    assert (tool.annotations.read_only_hint, tool.annotations.open_world_hint) == (True, False)
    assert tool.input_schema["properties"]["limit"]["default"] == 10
    assert tool.output_schema is not None
    assert set(tool.output_schema["properties"]) == {"customers", "total"}


@pytest.mark.parametrize("mode", MODES)
async def test_structured_answers_pass_the_clients_own_validation(gateway: GatewayProcess, mode: str) -> None:
    async with connected(gateway, mode, *ALPHA) as client:
        await all_tools(client)  # from here on the client holds results against the output schemas
        found = await client.call_tool("crm-search", {"q": "weber", "limit": 5})
        assert not found.is_error
        assert found.structured_content is not None
        assert [customer["id"] for customer in found.structured_content["customers"]] == ["CUS-1002", "CUS-1007"]
        assert isinstance(found.content[0], TextContent)

        invoice = {"customerId": "CUS-1002", "amount": 129.9, "currency": "EUR"}
        issued = await client.call_tool("billing-invoice", invoice)
        assert not issued.is_error
        assert issued.structured_content is not None
        assert issued.structured_content["customerName"] == "Jonas Weber"

        pets = await client.call_tool("listPets", {})
        assert not pets.is_error


@pytest.mark.parametrize("mode", MODES)
async def test_every_kind_of_answer_arrives(gateway: GatewayProcess, mode: str) -> None:
    async with connected(gateway, mode) as client:
        await all_tools(client)
        picture = await client.call_tool("getPetImage", {"petId": 1})
        assert isinstance(picture.content[0], ImageContent)
        assert picture.content[0].mime_type.startswith("image/")
        added = await client.call_tool("addPet", NEW_PET)
        assert not added.is_error, added.content
        assert added.structured_content is not None
        removed = await client.call_tool("deletePet", {"petId": added.structured_content["id"]})
        assert not removed.is_error


@pytest.mark.parametrize("mode", MODES)
async def test_what_the_back_end_refuses_and_wrong_arguments_are_error_results(
    gateway: GatewayProcess, mode: str
) -> None:
    async with connected(gateway, mode, *ALPHA) as client:
        await all_tools(client)
        absent = await client.call_tool("getPet", {"petId": 999_999})
        wrong = await client.call_tool("crm-search", {"limit": "many"})
    assert absent.is_error
    assert isinstance(absent.content[0], TextContent)
    assert absent.content[0].text.startswith("404 Not Found")
    assert wrong.is_error
    assert isinstance(wrong.content[0], TextContent)
    assert wrong.content[0].text.startswith("Invalid arguments: /limit")


@pytest.mark.parametrize("mode", MODES)
async def test_unknown_tools_and_those_of_another_tenant_are_the_same_protocol_error(
    gateway: GatewayProcess, mode: str
) -> None:
    async with connected(gateway, mode, *ALPHA) as client:
        for name in ("no-such-tool", "inventory-lookup"):
            with pytest.raises(MCPError) as refused:
                await client.call_tool(name, {})
            assert refused.value.code == -32602
            assert refused.value.message == f"Unknown tool: {name}"


@pytest.mark.parametrize("mode", MODES)
async def test_a_viewer_sees_fewer_tools_than_an_administrator(gateway: GatewayProcess, mode: str) -> None:
    async with connected(gateway, mode, *ALPHA) as client:
        of_admin = set(await all_tools(client))
    async with connected(gateway, mode, "viewer", "team-alpha") as client:
        of_viewer = set(await all_tools(client))
    async with connected(gateway, mode) as client:
        of_platform = set(await all_tools(client))
    assert of_viewer < of_admin
    assert {"crm-search", "listPets", "getPet", "getPetImage"} <= of_viewer
    assert of_viewer.isdisjoint({"billing-invoice", "addPet", "deletePet", "inventory-lookup"})
    assert {"billing-invoice", "addPet"} <= of_admin
    assert "deletePet" in of_platform


@pytest.mark.parametrize("mode", MODES)
async def test_a_viewer_cannot_call_what_it_cannot_see(gateway: GatewayProcess, mode: str) -> None:
    with pytest.RaisesGroup(MCPError, flatten_subgroups=True, allow_unwrapped=True):
        async with connected(gateway, mode, "viewer", "team-alpha") as client:
            await client.call_tool("addPet", NEW_PET)
    last = gateway.events()[-1]
    assert (last.tool, last.status, last.cost_units) == ("addPet", "unauthorized", 0)


async def test_a_client_without_a_token_gets_no_further_than_the_door(gateway: GatewayProcess) -> None:
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as http:
        response = await http.post(f"{gateway.url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert response.status_code == 401
    # The development issuer has no page to log in at, so the challenge names none.
    assert response.headers["WWW-Authenticate"] == 'Bearer scope="stoa:read"'


def test_the_demo_shows_one_successful_call_and_ends(tmp_path: Path) -> None:
    shown = GatewayProcess(tmp_path).run("demo", "--once", "--port", "0")
    assert shown.returncode == 0, shown.stderr
    assert "What the gateway recorded" in shown.stdout
    assert "success" in shown.stdout


@pytest.mark.parametrize("mode", MODES)
async def test_resources_are_listed_and_read(gateway: GatewayProcess, mode: str) -> None:
    async with connected(gateway, mode, "viewer", "team-beta") as client:
        uris = [str(resource.uri) for resource in (await client.list_resources()).resources]
        templates = [one.uri_template for one in (await client.list_resource_templates()).resource_templates]
        assert uris == ["demo://house-rules", "stoa://apis/petstore", "stoa://apis/reviews"]
        assert templates == ["stoa://tools/{name}", "stock://articles/{sku}"]
        rules = (await client.read_resource("demo://house-rules")).contents[0]
        stock = (await client.read_resource("stock://articles/MS-ERGO-L")).contents[0]
        api = (await client.read_resource("stoa://apis/petstore")).contents[0]
        page = (await client.read_resource("stoa://tools/inventory-lookup")).contents[0]
        assert isinstance(rules, TextResourceContents)
        assert rules.text.startswith("# House rules")
        assert isinstance(stock, TextResourceContents)
        assert (stock.mime_type, '"MS-ERGO-L"' in stock.text) == ("application/json", True)
        assert isinstance(api, TextResourceContents)
        assert api.text.startswith("openapi:")
        assert isinstance(page, TextResourceContents)
        assert "stock keeping unit" in page.text
        assert "http" not in page.text
        for unknown in ("stock://articles/NONE", "stoa://tools/crm-search", "demo://none"):
            with pytest.raises(MCPError) as refused:
                await client.read_resource(unknown)
            assert refused.value.code == (-32002 if mode == "legacy" else -32602)
    assert {event.tool for event in gateway.events()} >= {"resource:stock://articles/{sku}", "(unknown)"}


@pytest.mark.parametrize("mode", MODES)
async def test_prompts_are_listed_completed_and_filled(gateway: GatewayProcess, mode: str) -> None:
    async with connected(gateway, mode, *ALPHA) as client:
        (prompt,) = (await client.list_prompts()).prompts
        assert (prompt.name, prompt.title) == ("invoice-a-customer", "Invoice a customer")
        reference = PromptReference(type="ref/prompt", name=prompt.name)
        completion = (await client.complete(reference, {"name": "currency", "value": "e"})).completion
        assert completion.values == ["EUR"]
        filled = await client.get_prompt(prompt.name, {"customer": "{{amount}}", "amount": "5", "currency": "EUR"})
        content = filled.messages[0].content
        assert isinstance(content, TextContent)
        assert content.text.startswith('Look up the customer "{{amount}}" with crm-search.')
        for name, arguments in [(prompt.name, {"amount": "5"}), ("check-stock", {"sku": "x"})]:
            with pytest.raises(MCPError) as refused:
                await client.get_prompt(name, arguments)
            assert refused.value.code == -32602
    assert {event.tool for event in gateway.events()} >= {"prompt:invoice-a-customer", "(unknown)"}


async def test_a_session_goes_on_after_the_gateway_was_restarted(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, {"RATE_LIMIT_ENABLED": "false"})
    with asgi_upstream(build_upstream()) as upstream_url:
        write_catalogue(gateway.catalogue, upstream_url)
        with serving(gateway):
            async with connected(gateway, "legacy") as client:
                before = await client.call_tool("listPets", {})
                for end in (gateway.stop, gateway.kill):
                    await asyncio.to_thread(end)
                    await asyncio.to_thread(gateway.start)
                    after = await client.call_tool("listPets", {})
                    assert not after.is_error
                    assert after.content == before.content
