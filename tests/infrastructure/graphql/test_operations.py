"""Operation documents: what their tools are described by, and what is sent of them."""

import graphql
from tests.infrastructure.graphql.test_converter import converted

SDL = """
type Query {
  "Finds books."
  books("Text of the title." title: String, filter: Filter): [Book!]!
  shelf: [Book!]!
}
input Filter { "Which kind." kind: String, old: Int @deprecated(reason: "unused") }
type Book { id: ID!, title: String }
"""


def operations_of(*texts: str):
    return converted(SDL, files=[(f"{number}.graphql", text) for number, text in enumerate(texts)])


def test_operations_of_several_files_share_their_fragments():
    shared = "fragment Short on Book { id ...Title } fragment Title on Book { title }"
    own = "query Own { shelf { ...Short } } fragment Short on Book { title }"
    conversion = operations_of("query All { shelf { ...Short } }", shared, own)
    documents = {tool.name: graphql.parse(tool.binding.document).definitions for tool in conversion.tools}
    assert [node.name.value for node in documents["All"]] == ["All", "Short", "Title"]
    assert [node.name.value for node in documents["Own"]] == ["Own", "Short"]


def test_operations_with_a_fault_in_a_fragment_of_another_file_are_told_with_both_files():
    conversion = operations_of("query All { shelf { ...Short } }", "\nfragment Short on Book { nope }")
    (finding,) = conversion.findings
    assert finding.where == "0.graphql: line 1"
    assert finding.message == "All is left out: 1.graphql: line 2: Cannot query field 'nope' on type 'Book'."


def test_operations_take_descriptions_from_the_schema_where_their_author_gives_none():
    selection = "books(title: $title, filter: {kind: $kind, old: $old}) { id }"
    text = f"query Find($title: String, $kind: String, $old: Int) {{ {selection} }}"
    (tool,) = operations_of(text).tools
    assert tool.description == "Finds books."
    texts = {name: schema.get("description") for name, schema in tool.input_schema["properties"].items()}
    assert texts == {"title": "Text of the title.", "kind": "Which kind.", "old": "Deprecated: unused"}


def test_operations_are_sent_without_the_descriptions_that_older_servers_cannot_read():
    operation = '"Finds one." query Find("Its title." $title: String = "x") { books(title: $title) { ...A } }'
    text = f'{operation} "B." fragment A on Book {{ id }}'
    (tool,) = operations_of(text).tools
    assert tool.description == "Finds one."
    assert tool.input_schema["properties"]["title"]["description"] == "Its title."
    assert '"Finds' not in tool.binding.document
    assert '"Its' not in tool.binding.document
    assert '"B.' not in tool.binding.document
    assert '$title: String = "x"' in tool.binding.document
