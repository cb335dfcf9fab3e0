"""What servers offer, as tools, resources and prompts: names, schemas, annotations, approvals, and what is left out."""

import json
import re

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.application.ports import ConversionOptions, SpecDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Severity
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.infrastructure.mcp_upstream.converter import McpConverter, digest_of
from stoa.infrastructure.mcp_upstream.manifest import McpSource

URL = "https://mcp.example/mcp"
OBJECT = {"type": "object"}


def converted(*tools, source=None, options=None, **lists):
    description = {"mcp": {"server": {"name": "s", "version": "1"}}, "tools": [*tools], **lists}
    document = SpecDocument(URL, json.dumps(description))
    return McpConverter(source or McpSource(url=URL)).convert(document, options or ConversionOptions())


def messages(conversion):
    return [finding.message for finding in conversion.findings]


def test_names_that_clients_take_stay_and_others_are_made_legal():
    names = ["read_file", "admin.list", "größe", "a" * 70, "x y"]
    tools = converted(*({"name": name, "inputSchema": OBJECT} for name in names)).tools
    assert [tool.binding.name for tool in tools] == names
    assert tools[0].name == "read_file"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool.name) for tool in tools)
    assert len({tool.name for tool in tools}) == len(tools)


def test_prefix_stands_before_names_and_uri_schemes():
    conversion = converted(
        {"name": "log", "inputSchema": OBJECT},
        prompts=[{"name": "hello"}],
        resources=[{"uri": "file:///a", "name": "a"}],
        resourceTemplates=[{"uriTemplate": "file:///b/{id}", "name": "b"}],
        options=ConversionOptions(name_prefix="git_"),
    )
    assert [tool.name for tool in conversion.tools] == ["git_log"]
    prompt, one, template = conversion.contents
    assert isinstance(prompt, Prompt)
    assert prompt.name == "git_hello"
    assert (one.uri, one.name, one.binding.name) == ("git+file:///a", "git_a", "file:///a")
    assert (template.uri, template.binding.uri_prefix) == ("git+file:///b/{id}", "git+")


@pytest.mark.parametrize(
    ("annotations", "is_trusted", "access"),
    [
        ({}, True, "stoa:write"),
        ({"readOnlyHint": True}, True, "stoa:read"),
        ({"readOnlyHint": True}, False, "stoa:write"),
        ({"readOnlyHint": True, "destructiveHint": True}, True, "stoa:read"),
        ({"destructiveHint": True}, True, "stoa:admin"),
        ({"destructiveHint": True}, False, "stoa:admin"),
        ({"destructiveHint": False}, True, "stoa:write"),
        ({"readOnlyHint": "yes"}, True, "stoa:write"),
    ],
)
def test_annotations_give_the_scope_that_a_call_needs(annotations, is_trusted, access):
    source = McpSource.model_validate({"url": URL, "trustAnnotations": is_trusted})
    (tool,) = converted({"name": "t", "inputSchema": OBJECT, "annotations": annotations}, source=source).tools
    assert tool.access == access


def test_untrusted_texts_are_plain_and_bounded():
    text = "Ignore\x1b[2J all \u202eevil " + "x" * 20_000
    (tool,) = converted({"name": "t", "title": "a\x07b", "description": text, "inputSchema": OBJECT}).tools
    assert "\x1b" not in tool.description
    assert "\u202e" not in tool.description
    assert len(tool.description) <= 8192
    assert tool.title == "ab"


@pytest.mark.parametrize(
    ("schema", "is_kept"),
    [
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}, True),
        ({}, True),
        ({"type": "array"}, False),
        ({"type": "object", "properties": {"a": {"type": "nonsense"}}}, False),
        ({"type": "object", "properties": {"a": {"$ref": "https://evil.example/schema"}}}, False),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}, False),
    ],
)
def test_schema_that_does_not_compile_costs_its_own_tool_alone(schema, is_kept):
    conversion = converted({"name": "a", "inputSchema": schema}, {"name": "b", "inputSchema": OBJECT})
    assert ["a" in [tool.name for tool in conversion.tools], len(conversion.findings)] == [is_kept, int(not is_kept)]
    assert "b" in [tool.name for tool in conversion.tools]
    for tool in conversion.tools:
        jsonschema_rs.validator_for(tool.input_schema, offline=True)


def test_output_schema_and_routing_that_are_wrong_are_left_out_with_a_finding():
    schema = {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}
    conversion = converted({"name": "t", "inputSchema": schema, "outputSchema": {"type": 7}})
    (tool,) = conversion.tools
    assert tool.output_schema is None
    assert tool.input_schema["properties"] == {"a": {"type": "number"}}
    assert {finding.severity for finding in conversion.findings} == {Severity.WARNING}


def test_entries_that_are_none_are_told():
    conversion = converted(
        {"inputSchema": OBJECT},
        {"name": "t", "inputSchema": OBJECT},
        {"name": "t", "inputSchema": OBJECT},
        resources=[{"uri": "no uri at all", "name": "x"}, {"uri": "stoa://tools/{name}", "name": "x"}],
        resourceTemplates=[{"uriTemplate": "file:///{+path}", "name": "x"}],
    )
    assert [tool.name for tool in conversion.tools] == ["t"]
    assert conversion.contents == ()
    assert messages(conversion) == [
        "an entry is left out: its name is no text, or is too long",
        "left out: the server names it twice",
        "left out: stoa: URIs are this gateway's own; set spec.naming.prefix",
        "left out: it cannot be expressed in the catalogue",
        "left out: it cannot be expressed in the catalogue",
    ]


def test_changed_definition_is_held_back_until_it_is_approved():
    old = {"name": "t", "description": "Reads.", "inputSchema": OBJECT}
    new = {**old, "description": "Reads, and sends it elsewhere."}
    source = McpSource(url=URL, definitions="approved", approved={"t": digest_of(old)})
    assert [tool.name for tool in converted(old, source=source).tools] == ["t"]
    conversion = converted(new, {"name": "u", "inputSchema": OBJECT}, source=source)
    assert conversion.tools == ()
    changed, unknown = messages(conversion)
    assert changed == (
        "held back: it has changed since it was approved; when you have read it, set spec.mcp.approved 't' to "
        + digest_of(new)
    )
    assert unknown.startswith("held back: it is new")
    approved = McpSource(url=URL, definitions="approved", approved={"t": changed.rpartition(" ")[2]})
    assert [tool.description for tool in converted(new, source=approved).tools] == [new["description"]]


def test_approval_of_a_tool_is_none_of_a_prompt_or_resource():
    entry = {"name": "x"}
    source = McpSource(url=URL, definitions="approved", approved={"x": digest_of(entry)})
    assert converted(prompts=[entry], source=source).contents == ()
    named = McpSource(url=URL, definitions="approved", approved={"prompt:x": digest_of(entry)})
    assert len(converted(prompts=[entry], source=named).contents) == 1


def test_tool_that_runs_as_a_task_of_an_older_revision_alone_is_left_out():
    conversion = converted({"name": "t", "inputSchema": OBJECT, "execution": {"taskSupport": "required"}})
    assert conversion.tools == ()
    assert messages(conversion) == ["left out: it runs as a task of 2025-11-25 only, which this gateway does not speak"]


def test_document_of_another_kind_is_refused():
    for text in ("{}", "[]", "openapi: 3.1.0", '{"mcp": 1}'):
        with pytest.raises(InvalidInput):
            McpConverter(McpSource(url=URL)).convert(SpecDocument(URL, text), ConversionOptions())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=30) | _JSON,
        "uri": st.sampled_from(["file:///a", "x:{id}", "bad uri"]) | _JSON,
        "title": _JSON,
        "description": _JSON,
        "inputSchema": st.just(OBJECT) | _JSON,
        "outputSchema": _JSON,
        "annotations": _JSON,
        "arguments": _JSON,
        "icons": _JSON,
    },
)


@given(st.lists(_ENTRY, max_size=4), st.lists(_ENTRY, max_size=3))
def test_any_lists_give_operations_or_findings_and_never_raise(tools, others):
    conversion = converted(*tools, prompts=others, resources=others)
    for operation in (*conversion.tools, *conversion.contents):
        jsonschema_rs.validator_for(operation.input_schema, offline=True)
    assert all(isinstance(content, Prompt | Resource) for content in conversion.contents)
    assert len(conversion.tools) + len(conversion.contents) + len(conversion.findings) >= len(tools)
