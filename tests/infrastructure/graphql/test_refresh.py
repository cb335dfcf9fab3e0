"""A service whose schema changes, or that no longer tells it, while its tools are in use."""

import json

import graphql
import pytest
from tests.infrastructure.graphql.peer import shop
from tests.infrastructure.graphql.test_spec_kind import manifest
from tests.infrastructure.rest.loopback import answer

from stoa.application.gateway import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.domain.access.identity import Principal
from stoa.infrastructure.graphql import GraphQlBackend, GraphQlSpecKind
from stoa.testing.clock import ManualClock

ANN = Principal.of("ann", roles=["viewer"])
BEFORE = "type Query { title(id: ID!): String, stock: Int }"
AFTER = "type Query { title(id: ID!, language: String): String, price: Int }"
OPERATIONS = "query Title { title(id: 1) }\n\nquery Stock { stock }\n"


class Service:
    """Answers introspection and queries by its current schema. None: it refuses to tell it."""

    def __init__(self) -> None:
        self.schema: graphql.GraphQLSchema | None = graphql.build_schema(BEFORE)
        self.tells_schema = True

    def __call__(self, seen):
        body = json.loads(seen.body)
        if "__schema" in body["query"] and not self.tells_schema:
            return answer(b'{"errors":[{"message":"introspection is off"}]}', status="400 Bad Request")
        root = {"title": "a title", "stock": 3, "price": 7}
        given = graphql.graphql_sync(self.schema, body["query"], root, variable_values=body.get("variables"))
        return answer(json.dumps(given.formatted).encode())


class World:
    def __init__(self, **parts) -> None:
        credentials = InMemoryCredentialSource()
        self.clock = ManualClock()
        self.metering = InMemoryMeteringSink()
        self.gateway = Gateway(
            backends=[GraphQlBackend(credentials)],
            spec_kinds=[GraphQlSpecKind(credentials)],
            clock=self.clock,
            sink=self.metering,
            **parts,
        )

    def names(self) -> list[str]:
        return sorted(tool.name for tool in self.gateway.registry.catalogue.view(None) if tool.kind == "tool")

    async def refreshed(self, after: float = 2) -> list[str]:
        """What the next refresh has to tell."""
        self.clock.advance(after)
        return [str(finding) for finding in await self.gateway.loader.execute()]


@pytest.fixture
async def world():
    world = World(specs=InMemorySpecSource({"ops.graphql": OPERATIONS}))
    yield world
    await world.gateway.close()


def described(server, **members):
    return manifest("ToolSet", graphQL={"endpoint": server.endpoint, "refreshInterval": "1s", **members})


async def test_graphql_refresh_takes_over_what_changed_in_the_schema(world):
    service = Service()
    async with shop(service) as server:
        await world.gateway.add_manifest(described(server))
        assert world.names() == ["stock", "title"]
        service.schema = graphql.build_schema(AFTER)
        assert await world.refreshed(after=60) == []
        assert world.names() == ["price", "title"]
        title = world.gateway.registry.find(None, "title", "tool").operation
        assert [*title.input_schema["properties"]] == ["id", "language"]
        outcome = await world.gateway.invoke("title", {"id": "1", "language": "en"}, ANN)
    assert outcome.result.structured == {"data": {"title": "a title"}}


async def test_graphql_operation_that_no_longer_fits_is_told_with_file_and_line_and_the_others_stay(world):
    service = Service()
    async with shop(service) as server:
        await world.gateway.add_manifest(described(server, operations=["ops.graphql"]))
        assert world.names() == ["Stock", "Title"]
        service.schema = graphql.build_schema(AFTER)
        (finding,) = await world.refreshed()
        assert "ops.graphql: line 3: Stock is left out: line 3: Cannot query field 'stock'" in finding
        assert world.names() == ["Title"]


@pytest.mark.parametrize("fault", ["introspection off", "nonsense", "away"])
async def test_graphql_last_good_schema_stays_in_use_when_its_service_fails(world, fault):
    service = Service()

    def served(seen):
        if fault == "away" and not service.tells_schema:
            return None
        if fault == "nonsense" and not service.tells_schema:
            return answer(b'{"data":{"__schema":{"types":7}}}')
        return service(seen)

    async with shop(served) as server:
        await world.gateway.add_manifest(described(server))
        service.tells_schema = False
        findings = await world.refreshed()
        assert findings[0].startswith("error: ")
        assert world.names() == ["stock", "title"]
        service.tells_schema = True
        if fault != "away":
            assert (await world.gateway.invoke("stock", {}, ANN)).result.structured == {"data": {"stock": 3}}
        assert await world.refreshed(after=60) == []


async def test_graphql_schema_that_changes_under_a_client_is_one_error_result_and_the_other_tools_go_on(world):
    service = Service()
    async with shop(service) as server:
        await world.gateway.add_manifest(described(server))
        service.schema = graphql.build_schema(AFTER)
        outcome = await world.gateway.invoke("stock", {}, ANN)
        assert (outcome.error, outcome.result.is_error) == (None, True)
        assert "Cannot query field 'stock' on type 'Query'." in outcome.result.content[0].text
        assert (await world.gateway.invoke("title", {"id": "1"}, ANN)).result.structured["data"]["title"] == "a title"
    assert [event.tool for event in world.metering.events()] == ["stock", "title"]
