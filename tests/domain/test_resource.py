"""Resources and prompts: schemas that follow from names and arguments, and the contents of an answer."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.strategies import operations, prompts, raw_answers, resources, tool_results

from stoa.domain.errors import ResourceNotFound
from stoa.domain.operation import Access
from stoa.domain.prompt import Prompt
from stoa.domain.resource import Resource
from stoa.domain.result import EmbeddedResource, RawAnswer, TextContent, ToolResult
from stoa.domain.tool import LocalBinding, Tool

BINDING = LocalBinding(function="f")


def resource(name="memo://ant", **fields):
    return Resource(name=name, binding=BINDING, **fields)


@given(resources())
def test_a_templates_variables_are_its_arguments_and_all_are_needed(one):
    assert list(one.input_schema["properties"]) == list(one.template.names) == one.input_schema["required"]
    assert one.is_template == bool(one.template.names)


@given(prompts())
def test_a_prompts_arguments_are_strings_and_no_others_are_taken(one):
    properties = one.input_schema["properties"]
    assert [argument.name for argument in one.arguments] == list(properties)
    assert all(schema["type"] == "string" for schema in properties.values())
    assert one.input_schema["required"] == [argument.name for argument in one.arguments if argument.required]
    assert one.input_schema["additionalProperties"] is False


@given(resources() | prompts())
def test_reading_needs_the_scope_read_unless_a_tag_says_more(one):
    tagged = [access for access in (Access.ADMIN, Access.WRITE) if access.value in one.tags]
    assert one.access == (tagged[0] if tagged else Access.READ)
    assert not one.is_premium


@given(operations())
def test_an_operation_survives_being_written_down(one):
    again = type(one).model_validate(one.model_dump())
    assert (again, again.fingerprint, again.key) == (one, one.fingerprint, one.key)


@given(resources(), tool_results | raw_answers, st.sampled_from(["memo://ant", "memo://x/y"]))
def test_contents_are_never_empty_and_all_of_them_resources(one, answer, uri):
    try:
        result = one.contents(answer, uri)
    except ResourceNotFound as unknown:
        assert (answer.is_error, answer.status[:3], unknown.name) == (True, "404", uri)
        return
    assert result.is_error == answer.is_error
    if not result.is_error:
        assert result.content
        assert all(isinstance(block, EmbeddedResource) for block in result.content)
        assert all((block.text is None) != (block.blob is None) for block in result.content)


def test_the_back_ends_own_address_is_not_told():
    answer = RawAnswer(b"\x00\xff", "application/pdf", uri="http://internal.example/x")
    (block,) = resource().contents(answer, "memo://ant").content
    assert block == EmbeddedResource("memo://ant", "application/pdf", blob=base64.b64encode(b"\x00\xff").decode())


def test_what_the_back_end_says_of_the_type_counts_more_than_the_manifest():
    plain = resource(mime_type="text/markdown")
    told = plain.contents(RawAnswer(b"{}", "application/json"), "memo://ant").content
    silent = plain.contents(ToolResult((TextContent("x"),)), "memo://ant").content
    assert [block.mime_type for block in (*told, *silent)] == ["application/json", "text/markdown"]


@pytest.mark.parametrize("name", ["ant", "memo:", "memo://a b", "memo://ä", "memo://{a}{b}", "://x"])
def test_a_name_that_is_no_uri_is_refused(name):
    with pytest.raises(ValidationError):
        resource(name)


def test_two_arguments_of_a_prompt_have_different_names():
    with pytest.raises(ValidationError):
        Prompt(name="p", binding=BINDING, arguments=({"name": "a"}, {"name": "a"}))


def test_a_tool_a_prompt_and_their_keys_can_have_one_name():
    assert str(Tool(name="ant", binding=BINDING).key) == "global/ant"
    assert str(Prompt(name="ant", binding=BINDING, tenant="acme").key) == "acme/prompt:ant"


def test_a_resource_is_read_under_its_own_uri_alone():
    one = Resource(name="memo://x", binding=BINDING)
    assert (one.match("memo://x"), one.match("memo://y")) == ({}, None)


def test_completions_are_for_variables_of_the_template():
    with pytest.raises(ValidationError, match="size, which is no variable"):
        Resource(name="memo://{colour}", binding=BINDING, completions={"colour": ("red",), "size": ("s",)})


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
def test_what_the_back_end_says_is_gone_is_not_there(status):
    one = Resource(name="memo://x", binding=BINDING)
    with pytest.raises(ResourceNotFound):
        one.contents(RawAnswer(b"", "", is_error=True, status=status), "memo://x")
    assert one.contents(RawAnswer(b"", "", is_error=True, status="500 Oops"), "memo://x").is_error
    assert not one.contents(RawAnswer(b"x", "text/plain", status="404 Not Found"), "memo://x").is_error
