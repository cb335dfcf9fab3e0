"""A generated operation answers with a default selection when the caller gives none."""

import pytest
from tests.infrastructure.graphql.test_converter import tool_of

TYPES = """
type Query {
  pages(page: Int): Pages
  all: [Pages]
  person(id: ID!): Person
  shelf: Shelf
  many: Many
  mixed: Mixed
}
type Mutation { addPerson(name: String!): Payload, dropPerson(id: ID!): Dropped }
union Outcome = Success | Failure
type Success { person: Person }
type Failure { error: UserError }
type Dropped { clientMutationId: String, outcome: Outcome }
type Pages { total: Int, results: [Person] }
type Person { id: ID!, name: String, friends: [Person!]!, empty: Empty }
type Empty { needs(it: Int!): Int }
type Payload { person: Person, userErrors: [UserError!]!, clientMutationId: String }
type UserError { message: String!, field: [String!] }
type Shelf { name: String, boards: [Board] }
type Board { width: Int, books: [Person] }
type Many { a: [Person], b: [Person], c: [Person], d: [Person], e: [Person], f: [Person], g: [Person], total: Int }
type Mixed { total: Int, listed(first: Int!): [Person], old: [Person] @deprecated }
"""


@pytest.mark.parametrize(
    ("name", "selection"),
    [
        ("pages", "{ total results { id name } }"),
        ("addPerson", "{ clientMutationId userErrors { message field } person { id name } }"),
        (
            "dropPerson",
            (
                "{ clientMutationId outcome { __typename ... on Failure { error { message field } }"
                " ... on Success { person { id name } } } }"
            ),
        ),
        ("shelf", "{ name boards { width } }"),
    ],
)
def test_default_selection_of_an_envelope_has_what_it_carries(name, selection):
    assert tool_of(name, TYPES, mutations=True).binding.selection == selection


@pytest.mark.parametrize(
    ("name", "selection"),
    [
        ("person", "{ id name }"),  # an object with an id stands for itself
        ("all", "{ total }"),  # a list of envelopes would multiply
        ("many", "{ total }"),  # it does not show which of its lists is meant
        ("mixed", "{ total }"),  # one list needs an argument, one is on its way out
    ],
)
def test_default_selection_leaves_other_lists_to_the_caller(name, selection):
    assert tool_of(name, TYPES).binding.selection == selection
