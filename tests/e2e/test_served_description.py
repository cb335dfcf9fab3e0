"""One command from an API description to a governed server, without a manifest: the official Python client calls what
`stoa serve`, `stoa stdio` and `stoa call` make of it, over real connections to real back ends."""

import base64
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ariadne
import ariadne.asgi
import grpc
import httpx2
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent
from tests.e2e import forkserver
from tests.e2e.processes import STOA, GatewayProcess, Seen, Upstream, asgi_upstream, serving, until

PETS = """
openapi: 3.1.0
info: {title: Pets, version: '1'}
paths:
  /pets:
    get:
      operationId: listPets
      parameters: [{name: limit, in: query, schema: {type: integer}}]
      responses: {'200': {description: ok}}
  /pets/{id}:
    delete:
      operationId: deletePet
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      responses: {'200': {description: ok}}
"""
SCHEMES = """
security: [{app: [], login: []}]
components:
  securitySchemes:
    app: {type: apiKey, in: query, name: appid}
    login: {type: http, scheme: basic}
"""
SHOP = "type Query { say(text: String!): String! }"


@pytest.fixture
def gateway(tmp_path: Path) -> GatewayProcess:
    return GatewayProcess(tmp_path, {"PETS_HEADER": "Bearer s3cr3t", "PETS_TOKEN": "t0ken"}, sources=())


@pytest.fixture
def pets(tmp_path: Path) -> Iterator[Upstream]:
    """The pets' API, which also serves its description to those who prove themselves."""

    def answered(seen: Seen) -> tuple[int, str, bytes]:
        if seen.target != "/openapi.yaml":
            return 200, "application/json", json.dumps({"asked": seen.target}).encode()
        if seen.headers.get("authorization") != "Bearer s3cr3t":
            return 401, "text/plain", b"who?"
        return 200, "application/yaml", PETS.encode()

    (tmp_path / "pets.yaml").write_text(PETS)
    with Upstream(answered).listening() as upstream:
        yield upstream


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[str]:
    query = ariadne.QueryType()
    query.set_field("say", lambda *_, text: text)
    (tmp_path / "shop.graphql").write_text(SHOP)
    with asgi_upstream(ariadne.asgi.GraphQL(ariadne.make_executable_schema(SHOP, query))) as url:
        yield f"{url}/graphql"


@pytest.fixture
def health_service() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("pets", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    server.stop(None).wait(10)


@asynccontextmanager
async def over_http(gateway: GatewayProcess) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {gateway.token('cpi-admin')}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=20) as http:
        transport = streamable_http_client(f"{gateway.url}/mcp", http_client=http)
        async with Client(transport, read_timeout_seconds=20) as client:
            yield client


@asynccontextmanager
async def over_stdio(gateway: GatewayProcess, *arguments: str) -> AsyncGenerator[Client]:
    command = forkserver.command(STOA, "stdio", *arguments)
    environment = {"DATA_DIR": str(gateway.data), **gateway.environment}
    server = StdioServerParameters(command=command[0], args=command[1:], env=environment, cwd=gateway.home)
    with (gateway.home / "stderr").open("a") as log:
        async with Client(stdio_client(server, errlog=log), read_timeout_seconds=30) as client:
            yield client


async def names_of(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.parametrize("workers", [1, 2])
async def test_served_openapi_document_is_called_with_a_header_from_the_environment(
    gateway: GatewayProcess, pets: Upstream, workers: int
) -> None:
    document = str(gateway.home / "pets.yaml")
    gateway.arguments = (document, "--base-url", pets.url, "--header-from-env", "Authorization=PETS_HEADER")
    gateway.workers = workers
    with serving(gateway):
        async with over_http(gateway) as client:
            assert await names_of(client) == ["deletePet", "listPets"]
            found = await client.call_tool("listPets", {"limit": 2})
        assert isinstance(found.content[0], TextContent)
        assert json.loads(found.content[0].text) == {"asked": "/pets?limit=2"}
        assert gateway.get("/mcp/v1/tools")[0] == 401  # governed: nobody is let in without a token
    assert [event.tool for event in gateway.events()].count("listPets") == 1
    assert pets.seen[-1].headers["authorization"] == "Bearer s3cr3t"
    assert "s3cr3t" not in gateway.log
    assert f"stoa: serving MCP at {gateway.url}/mcp" in gateway.log
    assert "$(stoa token --role cpi-admin)" in gateway.log


async def test_served_document_is_called_with_a_key_for_each_of_its_security_schemes(
    gateway: GatewayProcess, pets: Upstream
) -> None:
    (gateway.home / "keys.yaml").write_text(PETS + SCHEMES)
    gateway.environment |= {"APP_ID": "k&y=", "LOGIN": "ada:s3cr3t"}
    gateway.arguments = (str(gateway.home / "keys.yaml"), "--base-url", pets.url)
    gateway.arguments += ("--scheme-from-env", "app=APP_ID", "--scheme-from-env", "login=LOGIN")
    with serving(gateway):
        async with over_http(gateway) as client:
            assert not (await client.call_tool("listPets", {"limit": 2})).is_error
    assert pets.seen[-1].target == "/pets?limit=2&appid=k%26y%3D"
    assert pets.seen[-1].headers["authorization"] == f"Basic {base64.b64encode(b'ada:s3cr3t').decode()}"
    assert "s3cr3t" not in gateway.log
    assert "k&y=" not in gateway.log


async def test_served_document_behind_a_credential_is_fetched_and_followed_with_it(
    gateway: GatewayProcess, pets: Upstream
) -> None:
    gateway.arguments = (f"{pets.url}/openapi.yaml", "--header-from-env", "Authorization=PETS_HEADER")
    with serving(gateway):
        async with over_http(gateway) as client:
            assert await names_of(client) == ["deletePet", "listPets"]


async def test_served_file_is_read_again_when_it_changes(gateway: GatewayProcess, pets: Upstream) -> None:
    file = gateway.home / "pets.yaml"
    gateway.arguments = (str(file), "--base-url", pets.url)
    with serving(gateway):
        file.with_suffix(".new").write_text(PETS.replace("listPets", "listAnimals"))
        file.with_suffix(".new").replace(file)
        token = gateway.token("cpi-admin")
        until(lambda: "listAnimals" in gateway.get("/mcp/v1/tools", token)[1], within=20)


async def test_served_graphql_schema_needs_the_endpoint_alone(gateway: GatewayProcess, shop: str) -> None:
    gateway.arguments = (str(gateway.home / "shop.graphql"), "--endpoint", shop)
    with serving(gateway):
        async with over_http(gateway) as client:
            assert await names_of(client) == ["say"]
            said = await client.call_tool("say", {"text": "hello"})
    assert said.structured_content == {"data": {"say": "hello"}}


async def test_served_address_of_a_graphql_service_is_introspected(gateway: GatewayProcess, shop: str) -> None:
    async with over_stdio(gateway, shop) as client:
        assert await names_of(client) == ["say"]
        said = await client.call_tool("say", {"text": "hello"})
    assert said.structured_content == {"data": {"say": "hello"}}


async def test_served_address_of_a_grpc_server_is_reflected(gateway: GatewayProcess, health_service: str) -> None:
    gateway.arguments = (health_service,)
    with serving(gateway):
        async with over_http(gateway) as client:
            assert "Health_Check" in await names_of(client)
            checked = await client.call_tool("Health_Check", {"service": "pets"})
    assert checked.structured_content == {"status": "SERVING"}


async def test_served_description_makes_the_client_of_stdio_a_platform_admin_unless_a_role_is_named(
    gateway: GatewayProcess, pets: Upstream
) -> None:
    async with over_stdio(gateway, "pets.yaml", "--base-url", pets.url, "--header-from-env", "PETS_TOKEN") as client:
        assert await names_of(client) == ["deletePet", "listPets"]
        assert not (await client.call_tool("deletePet", {"id": 7})).is_error
    assert (pets.seen[-1].method, pets.seen[-1].target) == ("DELETE", "/pets/7")
    assert pets.seen[-1].headers["authorization"] == "Bearer t0ken"
    async with over_stdio(gateway, "pets.yaml", "--base-url", pets.url, "--role", "viewer") as client:
        assert await names_of(client) == ["listPets"]


async def test_served_description_without_a_server_is_refused_with_what_to_add(gateway: GatewayProcess) -> None:
    (gateway.home / "pets.yaml").write_text(PETS)
    with pytest.RaisesGroup(MCPError, flatten_subgroups=True, allow_unwrapped=True) as refused:
        async with over_stdio(gateway, "pets.yaml") as client:
            await client.list_tools()
    assert "pets.yaml: no tools" in str(refused.value.exceptions)
    assert "--base-url" in str(refused.value.exceptions)

    gateway.arguments = (str(gateway.home / "pets.yaml"),)
    with pytest.raises(AssertionError, match="stoa serve ended with 3"):
        gateway.start()
    assert "--base-url says where its operations are called" in gateway.log
    assert "Traceback" not in gateway.log


def run(gateway: GatewayProcess, *arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    environment: dict[str, Any] = {"PATH": os.environ["PATH"], "DATA_DIR": str(gateway.data), **gateway.environment}
    command = forkserver.command(STOA, *arguments)
    return subprocess.run(
        command,
        env=environment,
        cwd=gateway.home,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_description_on_standard_input_is_converted_called_and_explained(
    gateway: GatewayProcess, pets: Upstream
) -> None:
    converted = run(gateway, "convert", "-", "--format", "json", text=PETS)
    assert sorted(tool["name"] for tool in json.loads(converted.stdout)) == ["deletePet", "listPets"]
    at = ("--spec", "-", "--base-url", pets.url)
    called = run(gateway, "call", "listPets", "limit=3", *at, text=PETS)
    assert (called.returncode, json.loads(called.stdout)) == (0, {"asked": "/pets?limit=3"}), called.stderr
    explained = run(gateway, "policy", "explain", "--tool", "listPets", "--as", "viewer@acme", "--json", *at, text=PETS)
    assert json.loads(explained.stdout)["request"]["url"] == f"{pets.url}/pets"
