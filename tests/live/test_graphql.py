"""GraphQL services by others, Apollo Server and GraphQL Yoga with mocked schemas: every operation that is generated for
them is one that they answer."""

import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.manifests import write
from tests.e2e.npm_clients import INSTALL_SECONDS, install
from tests.e2e.processes import GatewayProcess, serving
from tests.live.servers import REPOSITORY, LiveServer, free_port, post
from tests.live.test_serve import connected

from stoa.application.gateway import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.access.identity import Principal
from stoa.infrastructure.graphql import GraphQlBackend, GraphQlSpecKind
from stoa.infrastructure.worker_process import ProcessExecutor

SOURCES = Path(__file__).parent / "graphql_servers"
SHOP = SOURCES / "shop.graphql"
SPECS = REPOSITORY.parent / "shared" / "specs" / "graphql"
SCHEMAS = [SHOP, *sorted(SPECS.glob("*/schema.graphql"))]
ADMIN = Principal.of("ada", roles=["cpi-admin"])

pytestmark = pytest.mark.timeout(400 + INSTALL_SECONDS)


class GraphQlServer(LiveServer):
    program: str
    start_seconds = 60.0
    subscriptions: dict[str, str]
    """Where and how they are sent, as members of `spec.graphQL`."""

    def __init__(self, folder: Path, schema: Path) -> None:
        super().__init__(folder)
        self.endpoint = f"{self.url}/graphql"
        self._schema = schema

    @classmethod
    def is_installed(cls) -> bool:
        return True  # by `install`, which skips or fails

    def command(self) -> list[str]:
        node = SOURCES / "node_modules" / ".bin" / "node"
        return [str(node), str(SOURCES / self.program), str(self._schema), str(self.port), *self._more()]

    def is_ready(self) -> bool:
        return b"__typename" in post(self.endpoint, {"query": "{ __typename }"})

    def _more(self) -> list[str]:
        return []


class Apollo(GraphQlServer):
    name = "apollo"
    program = "apollo.mjs"

    def __init__(self, folder: Path, schema: Path) -> None:
        super().__init__(folder, schema)
        self._socket_port = free_port()
        self.subscriptions = {"subscriptionEndpoint": f"ws://127.0.0.1:{self._socket_port}/graphql"}

    def _more(self) -> list[str]:
        return [str(self._socket_port)]


class Yoga(GraphQlServer):
    name = "yoga"
    program = "yoga.mjs"
    subscriptions = {"subscriptionProtocol": "sse"}  # noqa: RUF012  # never changed


@pytest.fixture(scope="module", params=[Apollo, Yoga], ids=lambda kind: str(kind.name))
def kind(request: pytest.FixtureRequest) -> type[GraphQlServer]:
    install(SOURCES)
    return request.param


@pytest.fixture(scope="module", params=SCHEMAS, ids=lambda path: path.parent.name)
def server(
    request: pytest.FixtureRequest, kind: type[GraphQlServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GraphQlServer]:
    with _started(kind(tmp_path_factory.mktemp(kind.name), request.param)) as server:
        yield server


@pytest.fixture(scope="module")
def shop(kind: type[GraphQlServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQlServer]:
    with _started(kind(tmp_path_factory.mktemp(kind.name), SHOP)) as server:
        yield server


class _started:  # noqa: N801  # a context manager
    def __init__(self, server: GraphQlServer) -> None:
        self._server = server

    def __enter__(self) -> GraphQlServer:
        self._server.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def tool_set(**members: Any) -> dict[str, Any]:
    head = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "api"}}
    return {**head, "spec": {"graphQL": members}}


@asynccontextmanager
async def gateway_of(**members: Any):
    credentials, executor = InMemoryCredentialSource(), ProcessExecutor()
    gateway = Gateway(
        backends=[GraphQlBackend(credentials)], spec_kinds=[GraphQlSpecKind(credentials)], executor=executor
    )
    try:
        await gateway.add_manifest(tool_set(**members))
        yield gateway
    finally:
        await gateway.close()
        await executor.close()


def least(schema: Any, root: Any) -> Any:
    """The smallest value that the schema accepts: required members only."""
    if "$ref" in schema:
        return least(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return least(schema["anyOf"][0], root)
    kind = schema.get("type", "string")
    match kind if isinstance(kind, str) else kind[0]:
        case "object":
            members = schema.get("properties", {})
            required = schema.get("required", [])
            if not required and schema.get("minProperties"):
                required = [next(iter(members))]
            return {name: least(members[name], root) for name in required}
        case "array":
            return []
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case _:
            return {"date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01"}.get(schema.get("format", ""), "x")


async def test_graphql_every_generated_operation_is_answered_without_an_error(server):
    async with gateway_of(endpoint=server.endpoint, queries=True, mutations=True) as gateway:
        tools = [tool for tool in gateway.registry.catalogue.view(None) if tool.kind == "tool"]
        failed: list[tuple[str, Any]] = []
        for number, tool in enumerate(tools):
            caller = Principal.of(f"ada-{number}", roles=["cpi-admin"])  # one alone would reach the limit of callers
            outcome = await gateway.invoke(tool.name, least(tool.input_schema, tool.input_schema), caller)
            result = outcome.result
            if outcome.error is not None or result is None or result.is_error or "errors" in result.structured:
                failed.append((tool.name, outcome.error or result))
    assert len(tools) >= 5
    assert not failed


async def test_graphql_selection_of_a_caller_is_answered(shop):
    async with gateway_of(endpoint=shop.endpoint) as gateway:
        fields = "__typename ... on Book { title reviews(first: 2) { stars by { name } } } ... on Author { name }"
        outcome = await gateway.invoke("search", {"text": "x", "fields": fields}, ADMIN)
    hits = outcome.result.structured["data"]["search"]
    assert {hit["__typename"] for hit in hits} <= {"Book", "Author"}


@pytest.mark.parametrize("options", [{"method": "GET"}, {"persistedDocuments": "automatic"}])
async def test_graphql_other_ways_to_send_an_operation_are_understood(shop, options):
    if shop.name == "yoga" and "persistedDocuments" in options:
        pytest.skip("Yoga has automatic persisted queries only with a plugin")
    async with gateway_of(endpoint=shop.endpoint, **options) as gateway:
        for _ in range(2):
            outcome = await gateway.invoke("books", {"filter": {"title": "x"}}, ADMIN)
            assert len(outcome.result.structured["data"]["books"]) == 2


async def test_graphql_errors_of_the_service_are_shown_with_their_code(shop):
    document = {"endpoint": shop.endpoint, "document": "query Wrong { nope }"}
    tool = {**tool_set(), "kind": "Tool", "spec": {"graphQL": document}}
    async with gateway_of(endpoint=shop.endpoint) as gateway:
        await gateway.add_manifest(tool)
        outcome = await gateway.invoke("api", {}, ADMIN)
    assert outcome.result.is_error
    assert "Cannot query field" in outcome.result.content[0].text


async def test_graphql_subscription_is_read_until_its_service_completes_it(shop):
    members = {"endpoint": shop.endpoint, "subscriptions": True, **shop.subscriptions}
    async with gateway_of(**members) as gateway:
        outcome = await gateway.invoke("ticks", {"fields": "number"}, ADMIN)
    messages = [{"data": {"ticks": {"number": number}}} for number in (1, 2, 3)]
    assert outcome.result.structured == {"messages": messages, "end": "completed"}


async def test_graphql_service_is_served_through_mcp(shop, tmp_path):
    gateway = GatewayProcess(tmp_path)
    members = {"endpoint": shop.endpoint, "mutations": True, "subscriptions": True, **shop.subscriptions}
    write(gateway, "shop.yaml", tool_set(**members))
    told: list[float] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        told.append(value)

    with serving(gateway):
        async with connected(gateway, gateway.token("devops", "acme"), "legacy") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert names == {"book", "books", "search", "shelf", "addBook", "ticks"}
            book = await client.call_tool("addBook", {"book": {"title": "x"}})
            assert book.structured_content["data"]["addBook"]["title"] == "Hello World"
            ticks = await client.call_tool("ticks", {}, progress_callback=progress)
        statuses = [(event.tool, event.status) for event in gateway.events()]
    assert (len(ticks.structured_content["messages"]), ticks.structured_content["end"]) == (3, "completed")
    assert told[0] == 1
    assert json.loads(ticks.content[0].text) == ticks.structured_content
    assert statuses == [("addBook", "success"), ("ticks", "success")]
