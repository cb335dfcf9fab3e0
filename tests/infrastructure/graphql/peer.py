"""A real GraphQL server (ariadne) on a loopback socket, and the tools of its schema."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import ariadne
from pydantic.alias_generators import to_camel
from tests.infrastructure.rest.loopback import Answer, Loopback, Seen, answer, loopback

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import CallContext, ConversionOptions, SpecDocument
from stoa.domain.access.identity import Principal
from stoa.domain.operations.tool import Tool
from stoa.domain.policy.decision import Permit
from stoa.domain.results.result import ToolResult
from stoa.infrastructure.graphql import GraphQlBackend
from stoa.infrastructure.graphql.converter import GraphQlConverter
from stoa.infrastructure.graphql.manifest import GraphQlSource

SDL = '''
"""A book shop."""
type Query {
  "Says the text again."
  echo(text: String!): Echo!
  "Answers when it is told to, which is never."
  wait(text: String!): Echo
  refuse(text: String): Echo
  books(first: Int = 2, filter: BookFilter): [Book!]!
  search(text: String!): [Hit!]!
  shelf(after: String, first: Int): BookConnection!
  half: Half!
  anything(value: JSON, id: ID, at: DateTime, kinds: [Kind!]): String
  old: String @deprecated(reason: "use echo")
}
type Mutation { addBook(book: NewBook!): Book! }
type Subscription { added: Book }
type Echo { text: String! }
type Half { good: String, bad: String }
type Book { id: ID!, title: String!, author: Author!, reviews(first: Int = 3): [Review!]!, kind: Kind }
type Author { id: ID!, name: String!, books: [Book!]! }
type Review { stars: Int!, text: String, by: Author! }
type BookConnection { edges: [BookEdge!]!, pageInfo: PageInfo!, totalCount: Int! }
type BookEdge { node: Book!, cursor: String! }
type PageInfo { hasNextPage: Boolean!, endCursor: String }
union Hit = Book | Author
"Which shelf."
enum Kind { "Made up." NOVEL, ESSAY }
input NewBook { title: String!, kind: Kind = NOVEL, author: AuthorChoice! }
input AuthorChoice @oneOf { id: ID, name: String }
input BookFilter { title: String, kind: Kind, and: [BookFilter!], not: BookFilter }
scalar JSON
scalar DateTime
'''
AUTHOR = {"id": "a1", "name": "Ada"}
BOOKS = [{"id": str(n), "title": f"Book {n}", "author": AUTHOR, "kind": "NOVEL", "reviews": []} for n in range(3)]


class Secretive(Exception):
    extensions: ClassVar = {"code": "TEAPOT", "stacktrace": ["s3cr3t"]}


def executable() -> Any:
    query, mutation, hit = ariadne.QueryType(), ariadne.MutationType(), ariadne.UnionType("Hit")

    def fail(*_: Any, **__: Any) -> Any:
        raise Secretive("short and stout")

    query.set_field("echo", lambda *_, text: {"text": text})
    query.set_field("refuse", fail)
    query.set_field("books", lambda *_, first=None, filter=None: BOOKS[:first])  # noqa: A006  # the argument's name
    query.set_field("search", lambda *_, text: [{"__typename": "Book", **BOOKS[0]}, {"__typename": "Author", **AUTHOR}])
    page = {"edges": [{"node": BOOKS[0], "cursor": "c"}], "pageInfo": {"hasNextPage": False}, "totalCount": 3}
    query.set_field("shelf", lambda *_, **__: page)
    query.set_field("half", lambda *_: {"good": "here", "bad": fail})
    query.set_field("anything", lambda *_, **given: json.dumps(given, default=str))
    mutation.set_field("addBook", lambda *_, book: {"id": "9", "title": book["title"], "author": AUTHOR, "reviews": []})
    hit.set_type_resolver(lambda value, *_: value["__typename"])
    return ariadne.make_executable_schema(SDL, query, mutation, hit)


class Shop:
    """The server and what it was asked."""

    def __init__(self, server: Loopback, backend: GraphQlBackend) -> None:
        self.server = server
        self.backend = backend
        self.endpoint = f"{server.url}/graphql"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(seen.body) for seen in self.server.seen]

    def tool(self, name: str, text: str = SDL, **options: Any) -> Tool:
        return next(tool for tool in self.tools(text, **options) if tool.name == name)

    def tools(self, text: str = SDL, **options: Any) -> tuple[Tool, ...]:
        authentication = options.pop("authentication", None)
        source = GraphQlSource.model_validate(
            {"endpoint": self.endpoint, **{to_camel(k): v for k, v in options.items()}}
        )
        chosen = {} if authentication is None else {"authentication": authentication, "tenant": "acme"}
        return GraphQlConverter(source).convert(SpecDocument("shop", text), ConversionOptions(**chosen)).tools

    async def call(self, tool: Tool, /, **arguments: Any) -> ToolResult:
        async with asyncio.timeout(20):
            given = await self.backend.prepare(tool)(arguments, context_of(tool))
        assert isinstance(given, ToolResult)
        return given


def context_of(tool: Tool, **more: Any) -> CallContext:
    return CallContext(Permit(tool.key, ()), Principal.of("ann", roles=["viewer"]), "request-1", **more)


@asynccontextmanager
async def shop(
    answered: Callable[[Seen], Answer] | None = None,
    credentials: InMemoryCredentialSource | None = None,
    **options: Any,
) -> AsyncIterator[Shop]:
    """`answered` takes the place of the GraphQL server."""
    schema = executable()

    async def served(seen: Seen) -> Answer:
        data = json.loads(seen.body)
        if "wait" in data.get("query", ""):
            return await asyncio.get_running_loop().create_future()
        _, response = await ariadne.graphql(schema, data)
        return answer(json.dumps(response).encode(), media_type="application/graphql-response+json")

    async with loopback(answered or served) as server:
        backend = GraphQlBackend(credentials or InMemoryCredentialSource(), **options)
        try:
            yield Shop(server, backend)
        finally:
            await backend.close()
