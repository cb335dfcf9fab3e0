"""What arrives is what was given: the posted document is valid by graphql-core, and its variables are the arguments."""

import asyncio
import json

import graphql
from graphql.execution.values import get_variable_values
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.graphql.peer import SDL, context_of, shop
from tests.infrastructure.rest.loopback import answer

SCHEMA = graphql.build_schema(SDL)
TEXT = st.text(max_size=20)
KINDS = st.sampled_from(["NOVEL", "ESSAY"])
FILTERS = st.recursive(
    st.fixed_dictionaries({}, optional={"title": st.none() | TEXT, "kind": st.none() | KINDS}),
    lambda inner: st.fixed_dictionaries({}, optional={"and": st.lists(inner, max_size=3), "not": st.none() | inner}),
    max_leaves=5,
)
INT = st.integers(-(2**31), 2**31 - 1)
CHOICE = st.fixed_dictionaries({"id": TEXT}) | st.fixed_dictionaries({"name": TEXT})
BOOKS = st.fixed_dictionaries({"title": TEXT, "author": CHOICE}, optional={"kind": st.none() | KINDS})
JSON = st.recursive(
    st.none() | st.booleans() | INT | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
)
ARGUMENTS = st.one_of(
    st.tuples(st.just("books"), st.fixed_dictionaries({}, optional={"first": st.none() | INT, "filter": FILTERS})),
    st.tuples(st.just("addBook"), st.fixed_dictionaries({"book": BOOKS})),
    st.tuples(
        st.just("anything"),
        st.fixed_dictionaries({}, optional={"value": JSON, "id": TEXT, "at": TEXT, "kinds": st.lists(KINDS)}),
    ),
    st.tuples(st.just("echo"), st.fixed_dictionaries({"text": TEXT})),
)


@settings(max_examples=60)
@given(ARGUMENTS)
def test_graphql_arguments_arrive_as_the_variables_of_a_valid_document(call):
    name, arguments = call
    posted = asyncio.run(_posted(name, arguments))
    document = graphql.parse(posted["query"])
    assert not graphql.validate(SCHEMA, document)
    assert posted["variables"] == arguments
    (operation,) = document.definitions
    values = get_variable_values(SCHEMA, operation.variable_definitions or (), posted["variables"])
    assert not getattr(values, "errors", None)


async def _posted(name, arguments):
    async with shop(lambda _: answer(b'{"data":{}}')) as server:
        tool = server.tool(name, mutations=True)
        await server.backend.prepare(tool)(arguments, context_of(tool))
        return json.loads(server.server.seen[0].body)
