"""The official TypeScript clients, of both generations, and the MCP inspector against real gateways: `make clients`."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.e2e.manifests import THOUSAND, describe, owned, tool, write, write_thousand
from tests.e2e.npm_clients import INSTALL_SECONDS, TypeScriptClient, inspect, install, typescript_client
from tests.e2e.processes import GatewayProcess, Upstream, asgi_upstream, serving, serving_everything

from stoa.interfaces.demo.catalogue_files import write_catalogue
from stoa.interfaces.demo.upstream import BILLING_API_KEY, build_upstream

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(INSTALL_SECONDS + 120),
    pytest.mark.usefixtures("installed"),
]

CLIENTS = [("v1", "legacy"), ("v2", "legacy"), ("v2", "auto"), ("v2", "2026-07-28")]
"""@modelcontextprotocol/sdk and @modelcontextprotocol/client, and how each finds its revision."""
each_client = pytest.mark.parametrize(("sdk", "mode"), CLIENTS)
each_era = pytest.mark.parametrize("era", ["legacy", "auto", "modern"])
ALPHA = ("tenant-admin", "team-alpha")


@pytest.fixture(scope="module")
def installed() -> None:
    install()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """The demo's catalogue, for callers with a token."""
    secret = {"STOA_SECRET__TEAM_ALPHA__BILLING_API__APIKEY": BILLING_API_KEY}
    gateway = GatewayProcess(tmp_path_factory.mktemp("demo"), secret | {"RATE_LIMIT_ENABLED": "false"})
    with asgi_upstream(build_upstream()) as upstream_url:
        write_catalogue(gateway.catalogue, upstream_url)
        with serving(gateway):
            yield gateway


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a gateway where nobody needs a token."""
    with serving_everything(tmp_path_factory.mktemp("everything")) as url:
        yield url


def is_stateless(mode: str) -> bool:
    return mode != "legacy"


@each_client
def test_a_client_with_a_token_lists_calls_reads_asks_for_a_prompt_and_completes(
    gateway: GatewayProcess, sdk: str, mode: str
) -> None:
    with typescript_client(sdk, mode, f"{gateway.url}/mcp", gateway.token(*ALPHA)) as client:
        agreed = client("connect")
        assert agreed["revision"] == ("2026-07-28" if is_stateless(mode) else "2025-11-25")
        assert agreed["server"]["name"] == "stoa-mcp-gateway"
        assert agreed["capabilities"]["tools"] == {"listChanged": True}
        assert {"crm-search", "listPets", "billing-invoice"} <= set(client.names())
        assert "inventory-lookup" not in client.names()

        found = client("callTool", {"name": "crm-search", "arguments": {"q": "weber", "limit": 5}})
        assert [one["id"] for one in found["structuredContent"]["customers"]] == ["CUS-1002", "CUS-1007"]
        picture = client("callTool", {"name": "getPetImage", "arguments": {"petId": 1}})
        assert picture["content"][0]["type"] == "image"
        wrong = client("callTool", {"name": "crm-search", "arguments": {"limit": "many"}})
        assert wrong["isError"]
        unknown = client.answer("callTool", {"name": "inventory-lookup", "arguments": {}})
        assert unknown["error"]["code"] == -32602

        templates = {one["uriTemplate"] for one in client("listResourceTemplates")["resourceTemplates"]}
        assert "stoa://tools/{name}" in templates
        assert "demo://house-rules" in {one["uri"] for one in client("listResources")["resources"]}
        (rules,) = client("readResource", {"uri": "demo://house-rules"})["contents"]
        assert rules["text"].startswith("# House rules")

        (prompt,) = client("listPrompts")["prompts"]
        reference = {"type": "ref/prompt", "name": prompt["name"]}
        completed = client("complete", {"ref": reference, "argument": {"name": "currency", "value": "e"}})
        assert completed["completion"]["values"] == ["EUR"]
        filled = client("getPrompt", {"name": prompt["name"], "arguments": {"customer": "Weber", "amount": "5"}})
        assert filled["messages"][0]["content"]["text"].startswith('Look up the customer "Weber"')


@each_client
def test_a_client_without_a_token_is_challenged(gateway: GatewayProcess, sdk: str, mode: str) -> None:
    with typescript_client(sdk, mode, f"{gateway.url}/mcp") as client:
        assert "error" in client.answer("connect")
    method, status, challenge = client.http[0]
    assert (method, status) == ("POST", 401)
    assert challenge is not None
    assert challenge.startswith("Bearer ")
    assert "resource_metadata" not in challenge  # the development issuer has no page to log in at


@each_client
def test_tools_tell_and_ask_the_client(everything: str, sdk: str, mode: str) -> None:
    with typescript_client(sdk, mode, everything) as client:
        client("connect")
        assert client.text("test_tool_with_progress") == "done"
        assert [params["progress"] for kind, params in client.told if kind == "progress"] == [0, 50, 100]

        assert client.text("test_sampling", prompt="hi") == "LLM response: HI"
        assert "my username" in client.text("test_elicitation", message="Who?")
        several = client.text("test_input_required_result_multiple_inputs")
        assert several == "answered: client_roots, greeting, user_name"
        assert "my color" in client.text("test_input_required_result_multi_round")
        assert set(client.asked) == {"sampling/createMessage", "elicitation/create", "roots/list"}

        client.told.clear()
        call = {"name": "test_tool_with_logging", "arguments": {}}
        if is_stateless(mode):
            client("callTool", {**call, "_meta": {"io.modelcontextprotocol/logLevel": "info"}})
        else:
            client("setLoggingLevel", "info")
            client("callTool", call)
        logged = [params["data"] for kind, params in client.told if kind == "notifications/message"]
        assert logged == ["Tool execution started", "Tool processing data", "Tool execution completed"]


@each_client
def test_a_client_that_cannot_be_asked_is_told_so(everything: str, sdk: str, mode: str) -> None:
    with typescript_client(sdk, mode, everything, silent=True) as client:
        client("connect")
        answer = client.answer("callTool", {"name": "test_missing_capability", "arguments": {}})
        if is_stateless(mode):
            assert answer["error"]["code"] == -32021
        else:
            assert answer["result"]["isError"]


def test_the_clients_see_a_thousand_tools_and_hear_when_another_comes(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, {"RATE_LIMIT_ENABLED": "false"})
    with Upstream().listening() as upstream, ExitStack() as stack:
        write_thousand(gateway, upstream.url)
        stack.enter_context(serving(gateway))
        clients: dict[str, list[TypeScriptClient]] = {}
        for tenant in ("alpha", "beta"):
            token = gateway.token("tenant-admin", tenant)
            for sdk, mode in CLIENTS:
                client = stack.enter_context(typescript_client(sdk, mode, f"{gateway.url}/mcp", token))
                client("connect")
                client("listen" if is_stateless(mode) else "opened", {"toolsListChanged": True})
                assert client.names() == THOUSAND
                clients.setdefault(tenant, []).append(client)
        for client in clients["alpha"]:
            assert not client("callTool", {"name": THOUSAND[-1], "arguments": {"q": "x"}}).get("isError")
        assert upstream.seen[-1].target == f"/{THOUSAND[-1]}?q=x"

        write(gateway, "own.yaml", owned(tool("own", upstream.url), "alpha"))
        for client in clients["alpha"]:
            client("heard", "notifications/tools/list_changed")
            assert sorted(client.names()) == [*THOUSAND, "own"]
        describe(gateway, "thousand.json", [*THOUSAND, "one_more"])
        for client in (*clients["alpha"], *clients["beta"]):
            client("heard", "notifications/tools/list_changed")
            assert "one_more" in client.names()
        for client in clients["beta"]:
            told = [kind for kind, _ in client.told if kind == "notifications/tools/list_changed"]
            assert len(told) == 1, "a tenant hears nothing of another tenant's own tool"


@each_era
def test_the_inspector_lists_calls_reads_and_asks_for_a_prompt(
    gateway: GatewayProcess, tmp_path: Path, era: str
) -> None:
    url, token = f"{gateway.url}/mcp", gateway.token(*ALPHA)
    _, listed = inspect(tmp_path, url, era, "--method", "tools/list", token=token)
    assert "crm-search" in {tool["name"] for tool in listed["result"]["tools"]}
    call = ["--method", "tools/call", "--tool-name", "crm-search", "--tool-args-json", '{"q": "weber", "limit": 1}']
    code, called = inspect(tmp_path, url, era, *call, token=token)
    assert (code, called["result"]["structuredContent"]["total"]) == (0, 2)
    _, read = inspect(tmp_path, url, era, "--method", "resources/read", "--uri", "demo://house-rules", token=token)
    assert read["result"]["contents"][0]["text"].startswith("# House rules")
    prompt = ["--method", "prompts/get", "--prompt-name", "invoice-a-customer"]
    prompt += ["--prompt-args", "customer=Weber", "amount=5"]
    _, got = inspect(tmp_path, url, era, *prompt, token=token)
    assert "Weber" in got["result"]["messages"][0]["content"]["text"]


@each_era
def test_the_inspector_is_challenged_without_a_token_and_served_where_none_is_needed(
    gateway: GatewayProcess, everything: str, tmp_path: Path, era: str
) -> None:
    code, refused = inspect(tmp_path, f"{gateway.url}/mcp", era, "--method", "tools/list")
    assert (code, refused["error"]["code"]) == (3, "auth_required")
    code, called = inspect(tmp_path, everything, era, "--method", "tools/call", "--tool-name", "a_ping")
    assert (code, called["result"]["content"][0]["text"]) == (0, "pong")


@pytest.mark.parametrize("sdk", ["v1", "v2"])
def test_a_session_goes_on_after_the_gateway_was_restarted(sdk: str, tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, {"RATE_LIMIT_ENABLED": "false"})
    with asgi_upstream(build_upstream()) as upstream_url:
        write_catalogue(gateway.catalogue, upstream_url)
        with serving(gateway), typescript_client(sdk, "legacy", f"{gateway.url}/mcp", gateway.token(*ALPHA)) as client:
            client("connect")
            before = client("callTool", {"name": "listPets", "arguments": {}})
            for end in (gateway.stop, gateway.kill):
                end()
                gateway.start()
                after = client("callTool", {"name": "listPets", "arguments": {}})
                assert after["structuredContent"] == before["structuredContent"]
