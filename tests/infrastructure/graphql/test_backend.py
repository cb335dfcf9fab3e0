"""Calling GraphQL services: what is sent, and what becomes of their answers."""

import hashlib
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.infrastructure.graphql.peer import context_of, shop
from tests.infrastructure.rest.loopback import answer

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import UpstreamAccess
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.errors import BackendProtocolError, BackendUnavailable, InvalidArguments, InvalidInput
from stoa.domain.operations.access import Access as Scope
from stoa.domain.operations.tool import Authentication, SecretReference, Tool
from stoa.domain.results.result import TextContent
from stoa.infrastructure.graphql.binding import GraphQlBinding
from stoa.infrastructure.http_client import PUBLIC_ONLY
from stoa.infrastructure.http_client.backend_answers import MAX_VALUES

JSON = "application/json"


def texts(result) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def test_graphql_call_sends_values_as_variables_and_gives_the_response():
    async with shop() as server:
        result = await server.call(server.tool("echo"), text='"} { evil }')
        (body,) = server.bodies
    assert result.structured == {"data": {"echo": {"text": '"} { evil }'}}}
    assert body == {
        "query": "query echo($text: String!) { echo(text: $text) { text } }",
        "operationName": "echo",
        "variables": {"text": '"} { evil }'},
    }
    seen = server.server.seen[0]
    assert (seen.method, seen.header("Content-Type")) == ("POST", JSON)
    assert seen.header("Accept") == "application/graphql-response+json, application/json;q=0.9"


async def test_graphql_call_sends_its_trace_context():
    async with shop() as server:
        tool = server.tool("echo")
        trace = TraceContext("1" * 32, "2" * 16, state="a=b")
        await server.backend.prepare(tool)({"text": "x"}, context_of(tool, trace=trace))
        seen = server.server.seen[0]
    assert (seen.header("traceparent"), seen.header("tracestate")) == (trace.traceparent, "a=b")


async def test_graphql_mutation_writes_and_a_query_reads():
    async with shop() as server:
        tools = {tool.name: tool for tool in server.tools(mutations=True)}
        result = await server.call(tools["addBook"], book={"title": "New", "author": {"name": "Bo"}})
    assert result.structured["data"]["addBook"]["title"] == "New"
    assert (tools["addBook"].access, tools["addBook"].hints.read_only_hint) == (Scope.WRITE, False)
    assert (tools["echo"].access, tools["echo"].hints.read_only_hint) == (Scope.READ, True)
    assert tools["echo"].hints.idempotent_hint is True


@pytest.mark.parametrize("fields", ["id reviews(first: 5) { stars }", "{ id reviews(first: 5) { stars } }"])
async def test_graphql_fields_argument_replaces_the_selection(fields):
    async with shop() as server:
        result = await server.call(server.tool("books"), first=1, fields=fields)
        (body,) = server.bodies
    assert result.structured == {"data": {"books": [{"id": "0", "reviews": []}]}}
    assert body["variables"] == {"first": 1}
    assert " ".join(body["query"].split()) == (
        "query books($first: Int = 2, $filter: BookFilter) { books(first: $first, filter: $filter) "
        "{ id reviews(first: 5) { stars } } }"
    )


async def test_graphql_fields_argument_selects_from_the_members_of_a_union():
    async with shop() as server:
        result = await server.call(
            server.tool("search"), text="x", fields="... on Book { title } ... on Author { name }"
        )
    assert result.structured == {"data": {"search": [{"title": "Book 0"}, {"name": "Ada"}]}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("nope", "Book has no selectable field nope; it has id, title"),
        ("id {", "a GraphQL selection such as"),
        ("id } } mutation { addBook", "a GraphQL selection such as"),
        ("id } query x { id", "one GraphQL selection"),
        ("a: id", "id without an alias"),
        ("id @skip(if: true)", "without directives"),
        ("...F", "without named fragments"),
        ("... on Author { id }", "Book is never a Author"),
        ("id { id }", "id is a leaf"),
        ("author", "author is a Author; select some of id, name"),
        ("reviews(first: $x) { stars }", "takes a literal of the type Int"),
        ("reviews(last: 1) { stars }", "takes the arguments first"),
        ("reviews(first: 99999999999) { stars }", "takes a literal of the type Int"),
        ("author { books { author { books { author { books { author { books { author { id } } } } } } } } }", "levels"),
        ("reviews(first: 100000) { stars text by { id } }", "costs at most"),
        (" ".join(["id"] * 201), "at most 200 fields"),
        ("x" * 5000, "at most 4096 characters"),
        ("{" * 500, "nested deeper"),
        ("__schema { types { name } }", "no selectable field __schema"),
    ],
)
async def test_graphql_fields_argument_is_checked_before_anything_is_sent(fields, message):
    async with shop() as server:
        with pytest.raises(InvalidArguments) as refused:
            await server.call(server.tool("books"), fields=fields)
        assert not server.server.seen
    assert message in refused.value.message
    assert refused.value.violations[0].path == "/fields"


async def test_graphql_errors_without_data_are_an_error_result_with_their_codes_alone():
    async with shop() as server:
        result = await server.call(server.tool("refuse"))
    assert result.is_error
    assert texts(result) == "GraphQL errors\nrefuse: short and stout [TEAPOT]"


async def test_graphql_partial_data_is_kept_and_marked():
    body = {
        "data": {"half": {"good": "here", "bad": None}},
        "errors": [
            {
                "message": "short and stout",
                "path": ["half", "bad"],
                "locations": [{"line": 1, "column": 2}],
                "extensions": {"code": "TEAPOT", "stacktrace": ["s3cr3t"]},
            }
        ],
        "extensions": {"tracing": "s3cr3t"},
    }
    async with shop(lambda _: answer(json.dumps(body).encode())) as server:
        result = await server.call(server.tool("half"))
    assert not result.is_error
    assert result.structured == {
        "data": {"half": {"good": "here", "bad": None}},
        "errors": [{"message": "short and stout", "path": ["half", "bad"], "code": "TEAPOT"}],
    }
    assert texts(result).endswith("Partial data, 1 errors:\nhalf.bad: short and stout [TEAPOT]")
    assert "s3cr3t" not in texts(result)


@pytest.mark.parametrize(
    ("status", "media_type", "body", "text"),
    [
        ("502 Bad Gateway", "text/html", b"<p>no</p>", "502 Bad Gateway\n<p>no</p>"),
        ("404 Not Found", JSON, b'{"detail":"no"}', '404 Not Found\n{"detail":"no"}'),
        ("400 Bad Request", JSON, b'{"errors":[{"message":"no"}]}', "400 Bad Request: GraphQL errors\nno"),
        ("200 OK", JSON, b'{"data":null,"errors":[{"message":"no"}]}', "GraphQL errors\nno"),
        ("200 OK", JSON, b'{"data":{"echo":null},"errors":[7]}', "GraphQL errors\nunknown error"),
        ("302 Found", JSON, b"", "302 Found\nThe back end redirects this call"),
    ],
)
async def test_graphql_errors_and_http_errors_are_told_apart(status, media_type, body, text):
    async with shop(lambda _: answer(body, status=status, media_type=media_type)) as server:
        result = await server.call(server.tool("echo"), text="x")
    assert result.is_error
    assert texts(result).startswith(text)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("text/html", b"<p>log in</p>"),
        (JSON, b""),
        (JSON, b"[]"),
        (JSON, b'{"data":'),
        (JSON, b'{"data":7}'),
        (JSON, b"{}"),
        (JSON, b'{"errors":"x"}'),
        (JSON, b'{"data":{},"errors":[' + b"[" * 5000),
    ],
)
async def test_graphql_peer_that_answers_something_else_is_a_protocol_error(media_type, body):
    async with shop(lambda _: answer(body, media_type=media_type)) as server:
        with pytest.raises(BackendProtocolError, match="no GraphQL response"):
            await server.call(server.tool("echo"), text="x")


async def test_graphql_peer_that_answers_too_much_is_a_protocol_error():
    async with shop(lambda _: answer(b" " * 2000), max_answer_bytes=1000) as server:
        with pytest.raises(BackendProtocolError, match="more than 1000 bytes"):
            await server.call(server.tool("echo"), text="x")


async def test_graphql_answer_of_very_many_values_is_not_read():
    body = b'{"data":{"echo":[' + b"1," * MAX_VALUES + b"1,1]}}"
    async with shop(lambda _: answer(body)) as server:
        with pytest.raises(BackendProtocolError, match="values"):
            await server.call(server.tool("echo"), text="x")


async def test_graphql_peer_that_hangs_up_is_unavailable_and_may_have_seen_the_call():
    async with shop(lambda _: None) as server:
        with pytest.raises(BackendUnavailable) as failed:
            await server.call(server.tool("echo"), text="x")
    assert not failed.value.nothing_was_sent


async def test_graphql_peer_that_is_away_received_nothing():
    async with shop() as server:
        tool = server.tool("echo")
    with pytest.raises(BackendUnavailable, match="nothing listens") as failed:
        await server.call(tool, text="x")
    assert failed.value.nothing_was_sent
    await server.backend.close()


async def test_graphql_answer_too_long_to_show_keeps_its_errors():
    body = {"data": None, "errors": [{"message": "no"}], "extensions": {"x": "y" * 600_000}}
    async with shop(lambda _: answer(json.dumps(body).encode())) as server:
        result = await server.call(server.tool("echo"), text="x")
    assert (result.is_error, texts(result)) == (True, "GraphQL errors\nno")


async def test_graphql_call_into_a_private_network_is_refused_unless_allowed():
    async with shop(rules=PUBLIC_ONLY) as server:
        with pytest.raises(BackendUnavailable, match="in a network that the gateway may not call"):
            await server.call(server.tool("echo"), text="x")
        assert not server.server.seen


async def test_graphql_get_sends_a_query_in_the_url_and_a_mutation_never():
    async with shop(lambda _: answer(b'{"data":{"echo":null}}')) as server:
        await server.call(server.tool("echo", method="GET"), text="ä&b")
        await server.call(server.tool("echo", method="GET"), text="x" * 9000)
        tool = server.tool("addBook", method="GET", mutations=True)
        await server.call(tool, book={"title": "x", "author": {"id": "1"}})
        first, *later = server.server.seen
    query = parse_qs(urlsplit(first.target).query)
    assert first.method == "GET"
    assert json.loads(query["variables"][0]) == {"text": "ä&b"}
    assert query["query"] == ["query echo($text: String!) { echo(text: $text) { text } }"]
    assert [seen.method for seen in later] == ["POST", "POST"]


async def test_graphql_automatic_persisted_document_is_sent_by_its_hash_and_whole_where_it_is_unknown():
    known: set[str] = set()

    def served(seen):
        body = json.loads(seen.body)
        digest = body["extensions"]["persistedQuery"]["sha256Hash"]
        if "query" in body:
            assert hashlib.sha256(body["query"].encode()).hexdigest() == digest
            known.add(digest)
        if digest not in known:
            error = {"message": "PersistedQueryNotFound", "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"}}
            return answer(json.dumps({"errors": [error]}).encode())
        return answer(b'{"data":{"echo":{"text":"x"}}}')

    async with shop(served) as server:
        tool = server.tool("echo", persisted_documents="automatic")
        for _ in range(2):
            assert (await server.call(tool, text="x")).structured == {"data": {"echo": {"text": "x"}}}
    assert ["query" in body for body in server.bodies] == [False, True, False]


NEW_BOOK = {"title": "t", "author": {"id": "1"}}


@pytest.mark.parametrize(
    ("name", "arguments", "sent"), [("echo", {"text": "x"}, 2), ("addBook", {"book": NEW_BOOK}, 1)]
)
async def test_graphql_automatic_persisted_query_is_sent_whole_to_a_server_that_has_no_such_documents(
    name, arguments, sent
):
    def served(seen):
        if "query" not in json.loads(seen.body):
            return answer(b"No GraphQL query found", status="400 Bad Request", media_type="text/plain")
        return answer(b'{"data":{"echo":{"text":"x"}}}')

    async with shop(served) as server:
        tool = server.tool(name, persisted_documents="automatic", mutations=True)
        given = await server.call(tool, **arguments)
    assert len(server.bodies) == sent
    assert given.is_error is (sent == 1)


async def test_graphql_trusted_document_is_sent_by_its_id_and_takes_no_selection():
    async with shop(lambda _: answer(b'{"data":{"echo":{"text":"x"}}}')) as server:
        tool = server.tool("echo", persisted_documents="trusted", document_ids={"echo": "doc-1"})
        await server.call(tool, text="x")
    assert server.bodies == [{"variables": {"text": "x"}, "operationName": "echo", "documentId": "doc-1"}]
    assert "fields" not in tool.input_schema["properties"]


async def test_graphql_call_proves_itself_with_the_tools_credential_and_shows_it_to_nobody():
    credentials = InMemoryCredentialSource()
    credentials.put(TenantId("acme"), "shop", {"token": "t0ps3cret"})
    authentication = Authentication(type="bearer", secret=SecretReference(name="shop"))
    async with shop(credentials=credentials) as server:
        tool = server.tool("echo", authentication=authentication)
        call = server.backend.prepare(tool)
        await call({"text": "x"}, context_of(tool))
        preview = call.preview({"text": "x"})
    assert server.server.seen[0].header("Authorization") == "Bearer t0ps3cret"
    assert "t0ps3cret" not in str(preview)
    assert (preview["method"], preview["url"], preview["authentication"]) == ("POST", server.endpoint, "bearer")
    assert json.loads(preview["body"])["variables"] == {"text": "x"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operation": "mutation"}, "its document is a query, not a mutation"),
        ({"document": "{"}, "line 1: not GraphQL"),
        ({"document": "query a { b } query c { d }"}, "operationName"),
        ({"document": "subscription a { b }"}, "its document is a subscription, not a query"),
        ({"document": "subscription a { b }", "operation": "subscription", "method": "GET"}, "sent by GET"),
        ({"document": "mutation a { b }", "operation": "mutation", "method": "GET"}, "sent by GET"),
        ({"selection": "{ other }"}, "binding.selection is not part of its document"),
    ],
)
async def test_graphql_binding_that_cannot_work_is_refused_at_registration(changes, message):
    content = {"endpoint": "https://a.example/graphql", "operation": "query", "document": "query a { b }", **changes}
    async with shop() as server:
        with pytest.raises(InvalidInput, match=message):
            server.backend.prepare(Tool(name="a", binding=GraphQlBinding.model_validate(content)))


async def test_graphql_values_that_are_no_unicode_are_refused():
    async with shop() as server:
        with pytest.raises(InvalidArguments, match="valid Unicode"):
            await server.call(server.tool("echo"), text="\ud800")


class Access(UpstreamAccess):
    """Tokens in their order; the first is the one that the back end refuses."""

    def __init__(self) -> None:
        self.current = 1

    async def token(self) -> str:
        return f"token-{self.current}"

    def refused(self, token: str) -> bool:
        self.current += 1
        return True


@pytest.mark.parametrize(("name", "sent"), [("echo", ["token-1", "token-2"]), ("addBook", ["token-1"])])
async def test_graphql_call_with_a_refused_access_token_repeats_a_query_and_never_a_mutation(name, sent):
    def served(seen):
        if seen.header("Authorization") == "Bearer token-1":
            return answer(b'{"errors":[{"message":"expired"}]}', status="401 Unauthorized")
        return answer(b'{"data":{"echo":{"text":"x"}}}')

    async with shop(served) as server:
        tool = server.tool(name, mutations=True, authentication=Authentication(type="oauth2"))
        arguments = {"text": "x"} if name == "echo" else {"book": {"title": "x", "author": {"id": "1"}}}
        result = await server.backend.prepare(tool)(arguments, context_of(tool, upstream=Access()))
        assert [seen.header("Authorization") for seen in server.server.seen] == [f"Bearer {token}" for token in sent]
    assert result.is_error is (name == "addBook")


async def test_graphql_call_without_the_access_token_that_it_needs_sends_nothing():
    async with shop() as server:
        tool = server.tool("echo", authentication=Authentication(type="oauth2"))
        with pytest.raises(BackendUnavailable, match="needs an access token"):
            await server.call(tool, text="x")
        assert not server.server.seen


async def test_graphql_key_does_not_take_the_place_of_a_header_of_the_protocol():
    authentication = Authentication(type="apiKey", secret=SecretReference(name="s"), parameter_name="Content-Type")
    async with shop() as server:
        with pytest.raises(InvalidInput, match=r"authentication\.parameter_name"):
            server.backend.prepare(server.tool("echo", authentication=authentication))
