"""Schemas of Apollo Federation, of which clients see a part."""

from tests.infrastructure.graphql.test_converter import converted, tool_of

SUPERGRAPH = """
schema @link(url: "https://specs.apollo.dev/inaccessible/v0.2", for: SECURITY) { query: Query }
directive @inaccessible on FIELD_DEFINITION | OBJECT | ARGUMENT_DEFINITION | ENUM_VALUE | INPUT_FIELD_DEFINITION
type Query {
  user(id: ID!, secret: String @inaccessible, kind: Kind, like: Like): User
  account: Account
  staff: [Staff] @inaccessible
  either: Either
}
type User { id: ID!, name: String, pin: String @inaccessible, account: Account }
type Account @inaccessible { id: ID!, number: Int }
type Staff { id: ID! }
union Either = User | Account
enum Kind { OPEN HIDDEN @inaccessible }
input Like { name: String, pin: String @inaccessible }
"""


def test_federation_elements_that_are_inaccessible_are_neither_asked_for_nor_offered():
    tool = tool_of("user", SUPERGRAPH)
    assert tool.binding.selection == "{ id name }"
    assert tool.input_schema["properties"].keys() == {"id", "kind", "like", "fields"}
    assert tool.input_schema["properties"]["kind"]["enum"] == ["OPEN", None]
    assert tool.input_schema["$defs"]["Like"]["properties"].keys() == {"name"}
    assert [tool.name for tool in converted(SUPERGRAPH).tools] == ["user", "either"]
    assert tool_of("either", SUPERGRAPH).binding.selection == "{ __typename ... on User { id name } }"


def test_federation_fields_for_routers_are_left_out_with_a_finding():
    conversion = converted("""
        type Query { me: Int, _service: _Service!, _entities(representations: [_Any!]!): [_Entity]! }
        type _Service { sdl: String }
        type User { id: ID! }
        union _Entity = User
        scalar _Any
    """)
    assert [tool.name for tool in conversion.tools] == ["me"]
    assert [finding.where for finding in conversion.findings] == [
        "shop.graphql query _service",
        "shop.graphql query _entities",
    ]
    assert {finding.message for finding in conversion.findings} == {"left out: it is for routers of Apollo Federation"}
