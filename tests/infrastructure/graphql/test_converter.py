"""GraphQL schemas and operation documents to tools."""

import json
import pickle
import time
from pathlib import Path

import graphql
import jsonschema_rs
import pytest
from graphql.utilities import value_from_ast_untyped
from tests.infrastructure.graphql.peer import SDL

from stoa.application.ports import ConversionOptions, SpecDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Severity
from stoa.domain.operations.tool import Tool
from stoa.infrastructure.graphql.converter import GraphQlConverter
from stoa.infrastructure.graphql.manifest import GraphQlSource
from stoa.infrastructure.graphql.schema_text import OperationFile, joined

SPECS = Path(__file__).parents[4] / "shared" / "specs" / "graphql"
DOCUMENTS = sorted(str(path.relative_to(SPECS)) for path in SPECS.rglob("*") if path.suffix in {".graphql", ".json"})
COMPLETE = {
    "github/schema.graphql": (31, 247, 0),
    "linear/schema.graphql": (164, 371, 80),
    "swapi/schema.graphql": (13, 0, 0),
    "swapi/swapi_introspection.json": (13, 0, 0),
}
"""How many query, mutation and subscription fields each description has."""
ENDPOINT = "https://shop.example/graphql"
MOST_CPU_SECONDS = 30


def converted(text: str = SDL, *, files=(), options: ConversionOptions | None = None, **members):
    source = GraphQlSource.model_validate({"endpoint": ENDPOINT, **members})
    text = joined(text, [OperationFile(*file) for file in files])
    return GraphQlConverter(source).convert(SpecDocument("shop.graphql", text), options or ConversionOptions())


def tool_of(name: str, text: str = SDL, **options) -> Tool:
    return next(tool for tool in converted(text, **options).tools if tool.name == name)


@pytest.mark.skipif(not DOCUMENTS, reason="needs the API descriptions in ../shared/specs/graphql")
@pytest.mark.parametrize("name", DOCUMENTS)
def test_graphql_real_description_converts_whole_with_valid_schemas_and_documents(name):
    text = (SPECS / name).read_text("utf-8")
    began = time.process_time()
    conversion = converted(text, mutations=True, subscriptions=True)
    assert time.process_time() - began < MOST_CPU_SECONDS
    kinds = [tool.binding.operation for tool in conversion.tools]
    assert (kinds.count("query"), kinds.count("mutation"), kinds.count("subscription")) == COMPLETE[name]
    assert {finding.severity for finding in conversion.findings} <= {Severity.WARNING}
    if name.endswith(".json"):
        schema = graphql.build_client_schema(json.loads(text).get("data", json.loads(text)))
    else:
        schema = graphql.build_schema(text, assume_valid=True, assume_valid_sdl=True)
    for tool in conversion.tools:
        for part in (tool.input_schema, tool.output_schema):
            assert part is not None
            jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **part})
        assert not graphql.validate(schema, graphql.parse(tool.binding.document))


@pytest.mark.skipif(not DOCUMENTS, reason="needs the API descriptions in ../shared/specs/graphql")
def test_graphql_introspection_and_sdl_of_one_service_give_the_same_tools():
    names = ("swapi/schema.graphql", "swapi/swapi_introspection.json")
    sdl, introspected = (converted((SPECS / name).read_text("utf-8")).tools for name in names)
    assert [tool.name for tool in sdl] == [tool.name for tool in introspected]
    # One field of a member of `node` has another type in the older introspection.
    documents = [{tool.binding.document for tool in tools if tool.name != "node"} for tools in (sdl, introspected)]
    assert documents[0] == documents[1]
    assert [tool.input_schema["properties"].keys() for tool in sdl] == [
        tool.input_schema["properties"].keys() for tool in introspected
    ]


def test_graphql_own_introspection_gives_the_tools_of_the_sdl():
    data = graphql.introspection_from_schema(graphql.build_schema(SDL), one_of=True, input_value_deprecation=True)
    for text in (json.dumps(data), json.dumps({"data": data})):
        assert converted(text, mutations=True).tools == converted(mutations=True).tools


def test_graphql_input_types_become_json_schema():
    schema = tool_of("anything").input_schema
    assert schema["properties"] == {
        "value": {"description": "Scalar JSON"},
        "id": {"type": ["string", "null"]},
        "at": {"type": ["string", "null"], "format": "date-time", "description": "Scalar DateTime"},
        "kinds": {
            "type": ["array", "null"],
            "items": {"type": "string", "enum": ["NOVEL", "ESSAY"], "description": "Which shelf. NOVEL: Made up."},
        },
    }
    book = tool_of("addBook", mutations=True).input_schema
    assert book["required"] == ["book"]
    assert book["$defs"]["NewBook"]["required"] == ["title", "author"]
    assert book["$defs"]["NewBook"]["properties"]["kind"]["default"] == "NOVEL"
    assert book["$defs"]["NewBook"]["properties"]["kind"]["enum"] == ["NOVEL", "ESSAY", None]
    choice = book["$defs"]["AuthorChoice"]
    assert (choice["minProperties"], choice["maxProperties"]) == (1, 1)
    assert choice["properties"]["id"] == {"type": "string"}


def test_graphql_recursive_input_is_described_once():
    schema = tool_of("books").input_schema
    assert schema["$defs"]["BookFilter"]["properties"]["not"] == {
        "anyOf": [{"$ref": "#/$defs/BookFilter"}, {"type": "null"}]
    }
    assert schema["properties"]["first"]["default"] == 2
    jsonschema_rs.validator_for(schema).validate({"filter": {"and": [{"not": {"title": "x"}}]}})


def test_graphql_input_that_is_too_large_to_describe_is_told_and_accepts_objects():
    members = " ".join(f"member_with_a_long_name_{number}: String" for number in range(300))
    chain = "".join(f"input I{n} {{ {members} next: I{n + 1} }}\n" for n in range(4)) + "input I4 { a: Int }"
    conversion = converted(f"type Query {{ a(i: I0): Int }}\n{chain}")
    assert "1 tools have input types that are too large to describe" in conversion.findings[0].message
    assert conversion.tools[0].input_schema["$defs"].popitem()[1] == {"type": "object"}


def test_graphql_generated_selection_takes_leaves_connections_and_members_of_unions():
    assert tool_of("shelf").binding.selection == (
        "{ edges { node { id title kind author { id name } } } pageInfo { hasNextPage endCursor } totalCount }"
    )
    assert tool_of("search").binding.selection == (
        "{ __typename ... on Author { id name } ... on Book { id title kind } }"
    )
    assert "anything" not in tool_of("anything").input_schema["properties"]
    assert "fields" not in tool_of("anything").input_schema["properties"]


def test_graphql_output_schema_describes_what_the_selection_gives():
    schema = tool_of("shelf").output_schema
    node = schema["properties"]["data"]["properties"]["shelf"]["properties"]["edges"]["items"]["properties"]["node"]
    assert node["properties"]["author"]["properties"] == {
        "id": {"type": ["string", "integer", "null"]},
        "name": {"type": ["string", "null"]},
    }


def test_graphql_fields_argument_can_be_left_out_and_gives_way_to_one_of_the_service():
    assert "fields" not in tool_of("books", fieldsArgument=False).input_schema["properties"]
    tool = tool_of("a", "type Query { a(fields: String): A } type A { b: Int }")
    assert tool.binding.fields_argument == "answer_fields"


def test_graphql_deprecated_field_says_so():
    assert tool_of("old").description == "Deprecated: use echo query old: String"


def test_graphql_mutations_are_generated_where_they_are_asked_for_and_subscriptions_are_reported():
    conversion = converted()
    assert "addBook" not in {tool.name for tool in conversion.tools}
    assert [finding.message for finding in conversion.findings] == [
        "1 subscriptions are left out: added; add them by spec.graphQL.subscriptions"
    ]
    chosen = converted(queries=["echo"], mutations=["addBook", "nope"])
    assert [tool.name for tool in chosen.tools] == ["echo", "addBook"]
    assert chosen.findings[0].message == "there is no mutation field 'nope' (spec.graphQL)"


def test_graphql_tool_set_options_hold_for_every_tool():
    options = ConversionOptions(
        tenant="acme",
        operation_ids=frozenset({"echo"}),
        name_prefix="shop_",
        extra_tags=("t",),
        base_url="https://b.example/g",
        metered_arguments=("text", "x"),
        methods=frozenset({"GET"}),
    )
    conversion = converted(options=options)
    (tool,) = conversion.tools
    assert (tool.name, tool.tenant, tool.tags, tool.metered_arguments) == ("shop_echo", "acme", ("t",), ("text",))
    assert tool.binding.origins == {"https://b.example:443"}
    assert any("use operationIds" in finding.message for finding in conversion.findings)


def test_graphql_tools_without_an_endpoint_are_left_out():
    source = GraphQlSource.model_validate({"url": "a.graphql"})
    conversion = GraphQlConverter(source).convert(SpecDocument("a.graphql", SDL), ConversionOptions())
    assert not conversion.tools
    assert "set spec.graphQL.endpoint" in conversion.findings[-1].message


CURATED = """# Finds books.
# At most two.
query FindBooks($title: String, $most: Int! = 2) {
  books(first: $most, filter: {title: $title}) { ...Short }
}
fragment Short on Book { id author { ...Name } }
fragment Name on Author { name }
fragment Unused on Book { id }

query Broken { books { nope } }

subscription Added { added { nope } }
{ half { good } }
"""


def test_graphql_operation_document_becomes_a_tool_described_by_its_comments():
    conversion = converted(files=[("ops/shop.graphql", CURATED)])
    (tool,) = conversion.tools
    assert (tool.name, tool.description) == ("FindBooks", "Finds books.\nAt most two.")
    assert tool.input_schema == {
        "type": "object",
        "properties": {
            "title": {"type": ["string", "null"]},
            "most": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1, "default": 2},
        },
        "additionalProperties": False,
    }
    assert [node.name.value for node in graphql.parse(tool.binding.document).definitions] == [
        "FindBooks",
        "Short",
        "Name",
    ]
    book = tool.output_schema["properties"]["data"]["properties"]["books"]["items"]
    assert list(book["properties"]) == ["id", "author"]


def test_graphql_operation_that_does_not_fit_the_schema_is_a_finding_with_file_and_line():
    findings = converted(files=[("ops/shop.graphql", CURATED), ("bad.graphql", "query {")]).findings
    assert [(finding.where, finding.message) for finding in findings if finding.severity is Severity.ERROR] == [
        (
            "ops/shop.graphql: line 10",
            "Broken is left out: line 10: Cannot query field 'nope' on type 'Book'.",
        ),
        ("ops/shop.graphql: line 12", "Added is left out: line 12: Cannot query field 'nope' on type 'Book'."),
        (
            "ops/shop.graphql: line 13",
            "an operation is left out: it has no name, which would be the tool's; write `query Name { ... }`",
        ),
        ("bad.graphql", "bad.graphql: line 1: not GraphQL: Syntax Error: Expected Name, found <EOF>."),
    ]


def test_graphql_federated_subgraph_with_unknown_directives_converts():
    text = """
      extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
      extend type Query { me: User }
      type User @key(fields: "id") { id: ID! @shareable, name: String }
      extend type Query { you: User @deprecated }
    """
    assert [tool.name for tool in converted(text).tools] == ["me", "you"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type Query { a: Int", "line 1: not GraphQL"),
        ("type Query {\n  a: Nope\n}", "line 1: not a GraphQL schema"),
        ('{"data": {}}', "line 1: not an introspection result"),
        ('{"__schema": {}}', "line 1: not a GraphQL schema"),
        ("{" + '"a":{' * 150 + "}" * 151, "line 1"),
        ("type Query { a(b: I = " + "[" * 5000 + "]" * 5000 + "): Int }", "nested deeper than 100"),
        ("query A { a }", "name its file in spec.graphQL.operations"),
        ("type Query { a: Int }\n" * 20001, "more than 20000 definitions"),
    ],
)
def test_graphql_description_that_is_none_is_refused_with_its_line(text, message):
    with pytest.raises(InvalidInput) as refused:
        converted(text)
    assert refused.value.message.startswith("shop.graphql: line")
    assert message in refused.value.message


def test_graphql_converter_and_its_tools_go_through_the_worker_process():
    source = GraphQlSource.model_validate({"endpoint": ENDPOINT})
    assert pickle.loads(pickle.dumps(GraphQlConverter(source))) == GraphQlConverter(source)
    tools = converted(mutations=True).tools
    assert pickle.loads(pickle.dumps(tools)) == tools
    assert all(Tool.model_validate(tool.model_dump()) == tool for tool in tools)


def test_graphql_default_of_an_argument_that_must_not_be_null_is_kept_in_its_variable():
    tool = tool_of("a", 'type Query { a(b: Int! = 5, c: [String!]! = ["x"]): Int }')
    assert "$b: Int! = 5" in tool.binding.document
    operation = graphql.parse(tool.binding.document).definitions[0]
    assert value_from_ast_untyped(operation.variable_definitions[1].default_value) == ["x"]
    assert "required" not in tool.input_schema
