"""ToolSets and Tools that name GraphQL in their manifests: schemas from files, manifests and live services."""

import json
from contextlib import asynccontextmanager

import graphql
import pytest
from tests.application.upstream import Tokens, oauth_tool
from tests.infrastructure.graphql.peer import SDL, executable, shop
from tests.infrastructure.rest.loopback import answer

from stoa.application.gateway import Gateway
from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports import SpecPlace
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.errors import InvalidInput, NotPermitted, Unavailable
from stoa.domain.operations.tool import Authentication, SecretReference
from stoa.infrastructure.graphql import GraphQlBackend, GraphQlSpecKind
from stoa.infrastructure.graphql.manifest import GraphQlSource
from stoa.infrastructure.http_client import PUBLIC_ONLY
from stoa.infrastructure.openapi import OpenApiSpecKind
from stoa.infrastructure.worker_process import ProcessExecutor

VIEWER = Principal.of("ann", roles=["viewer"])
ADMIN = Principal.of("ada", roles=["cpi-admin"])
OPERATIONS = "# Says it.\nquery Say($text: String!) { echo(text: $text) { text } }"


def manifest(kind, **spec):
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": kind, "metadata": {"name": "shop"}, "spec": spec}


def place(documents=None, **more):
    return SpecPlace("m.yaml", InMemorySpecSource(documents or {}).fetch, **more)


@asynccontextmanager
async def gateway_of(documents=None, executor=None):
    credentials = InMemoryCredentialSource()
    gateway = Gateway(
        backends=[GraphQlBackend(credentials)],
        spec_kinds=[OpenApiSpecKind(), GraphQlSpecKind(credentials)],
        specs=InMemorySpecSource(documents or {}),
        executor=executor,
    )
    try:
        yield gateway
    finally:
        await gateway.close()
        if executor is not None:
            await executor.close()


@pytest.mark.parametrize("is_in_worker_process", [False, True])
async def test_graphql_tool_set_of_a_live_service_asks_for_its_schema_and_serves_it(is_in_worker_process):
    async with shop() as server, gateway_of(executor=ProcessExecutor() if is_in_worker_process else None) as gateway:
        content = manifest("ToolSet", graphQL={"endpoint": server.endpoint, "mutations": ["addBook"]})
        await gateway.add_manifest(content)
        assert [finding.message for finding in gateway.loader.findings] == [
            "1 subscriptions are left out: added; add them by spec.graphQL.subscriptions"
        ]
        outcome = await gateway.invoke("echo", {"text": "hi"}, VIEWER)
        assert outcome.result.structured == {"data": {"echo": {"text": "hi"}}}
        arguments = {"book": {"title": "x", "author": {"id": "1"}}}
        refused = await gateway.invoke("addBook", arguments, VIEWER)
        assert isinstance(refused.error, NotPermitted)
        assert (await gateway.invoke("addBook", arguments, ADMIN)).error is None


async def test_graphql_tool_set_takes_schema_and_operations_from_files():
    documents = {"shop.graphql": SDL, "say.graphql": OPERATIONS}
    async with shop() as server, gateway_of(documents) as gateway:
        part = {"url": "shop.graphql", "endpoint": server.endpoint, "operations": ["say.graphql", "query B { nope }"]}
        findings = await gateway.add_manifest(manifest("ToolSet", graphQL=part))
        assert [finding.message for finding in findings if "nope" in finding.message] == [
            "B is left out: line 1: Cannot query field 'nope' on type 'Query'."
        ]
        tools = [tool for tool in gateway.registry.catalogue.view(None) if tool.kind == "tool"]
        assert [(tool.name, tool.description) for tool in tools] == [("Say", "Says it.")]
        assert (await gateway.invoke("Say", {"text": "x"}, VIEWER)).result.structured["data"]["echo"] == {"text": "x"}


async def test_graphql_tool_is_one_operation_written_by_hand():
    async with shop() as server, gateway_of() as gateway:
        part = {"endpoint": server.endpoint, "document": OPERATIONS}
        assert await gateway.add_manifest(manifest("Tool", graphQL=part)) == []
        outcome = await gateway.invoke("shop", {"text": "x"}, VIEWER)
        assert outcome.result.structured == {"data": {"echo": {"text": "x"}}}
        missing = await gateway.invoke("shop", {}, VIEWER)
        assert missing.error.code == "invalid_arguments"


@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("Tool", {"endpoint": "https://a.example", "document": "{"}, "spec.graphQL.document: line 1: not GraphQL"),
        ("Tool", {"endpoint": "ftp://a", "document": "{a}"}, "spec.graphQL.endpoint"),
        ("Tool", {"endpoint": "https://a.example", "document": "mutation { a }", "method": "GET"}, "sent by GET"),
        ("ToolSet", {}, "set url, inline or endpoint"),
        ("ToolSet", {"url": "a", "inline": "b"}, "set url or inline"),
        ("ToolSet", {"url": "a", "mutation": True}, "did you mean mutations"),
    ],
)
async def test_graphql_manifest_that_cannot_work_is_refused_with_its_field(kind, part, message):
    async with gateway_of() as gateway:
        with pytest.raises(InvalidInput) as refused:
            await gateway.add_manifest(manifest(kind, graphQL=part))
    assert message in refused.value.message


async def test_graphql_introspection_proves_itself_and_gives_an_equal_text_each_time():
    credentials = InMemoryCredentialSource()
    credentials.put(TenantId("acme"), "shop", {"apiKey": "s3cr3t"})
    authentication = Authentication(type="apiKey", secret=SecretReference(name="shop"))
    async with shop() as server:
        kind = GraphQlSpecKind(credentials)
        source = GraphQlSource(endpoint=server.endpoint)
        proving = place(tenant=TenantId("acme"), authentication=authentication)
        first, second = [await kind.fetch(source, proving) for _ in range(2)]
        assert first == second
        assert server.server.seen[0].header("X-API-Key") == "s3cr3t"
    assert "s3cr3t" not in first.text
    assert (first.location, first.media_type) == (server.endpoint, "application/json")


async def test_graphql_introspection_asks_older_servers_again_without_what_is_new():
    schema = executable()

    def served(seen):
        query = json.loads(seen.body)["query"]
        if "specifiedByURL" in query:
            return answer(b'{"errors":[{"message":"no such field"}]}', status="400 Bad Request")
        return answer(json.dumps({"data": graphql.graphql_sync(schema, query).data}).encode())

    async with shop(served) as server:
        document = await GraphQlSpecKind().fetch(GraphQlSource(endpoint=server.endpoint), place())
        assert len(server.server.seen) == 3
    assert '"__schema"' in document.text


async def test_graphql_introspection_of_a_server_without_one_of_still_tells_deprecated_arguments():
    schema = graphql.build_schema('type Query { a(old: Int @deprecated(reason: "new"), b: Int): Int }')

    def served(seen):
        query = json.loads(seen.body)["query"]
        if "isOneOf" in query:
            return answer(b'{"errors":[{"message":"no such field"}]}', status="400 Bad Request")
        return answer(json.dumps({"data": graphql.graphql_sync(schema, query).data}).encode())

    async with shop(served) as server:
        document = await GraphQlSpecKind().fetch(GraphQlSource(endpoint=server.endpoint), place())
    assert '"deprecationReason":"new"' in document.text


async def test_graphql_introspection_that_is_large_is_read_by_the_executor():
    runs: list[int] = []

    class Counted(InThreadExecutor):
        async def run(self, function, *args, **kwargs):
            runs.append(len(args[0]))
            return await super().run(function, *args, **kwargs)

    fields = "".join(f"field{number}: Int " for number in range(2000))
    schema = graphql.build_schema(f"type Query {{ {fields} }}")

    def served(seen):
        return answer(json.dumps({"data": graphql.graphql_sync(schema, json.loads(seen.body)["query"]).data}).encode())

    async with shop(served) as server:
        kind = GraphQlSpecKind(executor=Counted())
        document = await kind.fetch(GraphQlSource(endpoint=server.endpoint), place())
    assert len(runs) == 1
    assert document.text.startswith('{"data":{"__schema":')


@pytest.mark.parametrize(
    ("served", "error", "message"),
    [
        (answer(b'{"errors":[{"message":"introspection is off"}]}'), InvalidInput, "does not tell its schema"),
        (answer(b"<p>", media_type="text/html"), InvalidInput, "does not tell its schema"),
        (answer(b"", status="401 Unauthorized"), InvalidInput, "set toolDefaults.authentication"),
        (answer(b"", status="503 Busy"), Unavailable, "the server answered 503"),
        (None, Unavailable, "cannot be asked for its schema"),
    ],
)
async def test_graphql_service_that_does_not_tell_its_schema_is_told(served, error, message):
    async with shop(lambda _: served) as server:
        with pytest.raises(error, match=message):
            await GraphQlSpecKind().fetch(GraphQlSource(endpoint=server.endpoint), place())


async def test_graphql_introspection_keeps_to_the_outbound_rules():
    async with shop() as server:
        with pytest.raises(Unavailable):
            await GraphQlSpecKind(rules=PUBLIC_ONLY).fetch(GraphQlSource(endpoint=server.endpoint), place())
        assert not server.server.seen


async def test_graphql_introspection_shows_an_access_token_and_a_new_one_where_that_is_refused():
    at, tool = Tokens(), oauth_tool()
    access = at.tokens.own_access(tool.authentication, tool.tenant)
    first = await access.token()
    at.clock.advance(60)  # so old that another one may fare better
    schema = executable()

    def guarded(seen):
        if seen.header("Authorization") in {None, f"Bearer {first}"}:
            return answer(b"", status="401 Unauthorized")
        return answer(json.dumps({"data": graphql.graphql_sync(schema, json.loads(seen.body)["query"]).data}).encode())

    async with shop(guarded) as server:
        proving = place(authentication=tool.authentication, tenant=tool.tenant, access=access)
        document = await GraphQlSpecKind().fetch(GraphQlSource(endpoint=server.endpoint), proving)
        shown = [seen.header("Authorization") for seen in server.server.seen]
    assert '"__schema"' in document.text
    assert shown == [f"Bearer {first}", f"Bearer {await access.token()}"]


async def test_graphql_schema_is_fetched_with_the_credential_at_the_endpoints_origin_alone():
    part = {"url": "https://shop.example/schema", "endpoint": "https://shop.example/graphql"}
    assert GraphQlSource(**part).called_at == part["endpoint"]
    assert GraphQlSource(url=part["url"]).called_at is None


async def test_graphql_service_behind_oauth2_in_the_name_of_callers_needs_its_schema_as_a_document():
    proving = place(authentication=Authentication(type="oauth2"))
    with pytest.raises(InvalidInput, match=r"spec\.graphQL\.url"):
        await GraphQlSpecKind().fetch(GraphQlSource(endpoint="https://a.example"), proving)


@pytest.mark.parametrize(
    ("location", "text", "is_accepted"),
    [
        ("graphql+https://a.example/query", None, True),
        ("https://a.example/graphql", None, True),
        ("https://a.example/graphql/", None, True),
        ("https://a.example/schema.graphql", None, False),
        ("graphql", None, False),
        ("a", SDL, True),
        ("a", '{"data": {"__schema": {}}}', True),
        ("a", "schema { query: Root }\ntype Root { a: Int }", True),
        ("a", "openapi: 3.0.0\ntype Query {", False),
        ("a", "type: object", False),
        ("a", "", False),
    ],
)
def test_graphql_description_is_recognised_by_its_address_or_its_text(location, text, is_accepted):
    assert GraphQlSpecKind().accepts(location, text) is is_accepted


def test_graphql_address_names_the_endpoint():
    kind = GraphQlSpecKind()
    assert kind.source_at("graphql+https://a.example/q").endpoint == "https://a.example/q"
    assert kind.source_at("https://a.example/graphql").address == "https://a.example/graphql"
    assert kind.source_at("https://a.example/graphql").is_remote
    assert kind.source_at("shop.graphql").url == "shop.graphql"
