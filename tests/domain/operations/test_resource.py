"""Resources and prompts: schemas that follow from names and arguments, and the contents of an answer."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.strategies import operations, prompts, raw_answers, resources, tool_results

from stoa.application.calls.resource_contents import resource_contents
from stoa.domain.errors import ResourceNotFound
from stoa.domain.operations.access import Access, strictest
from stoa.domain.operations.prompt import Prompt, PromptArgument
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.results.result import AudioContent, EmbeddedResource, ImageContent, RawAnswer, TextContent, ToolResult

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
    assert one.is_template is False


@given(resources() | prompts())
def test_reading_needs_the_scope_of_its_method_unless_a_tag_says_otherwise(one):
    said = next((access for access in reversed(Access) if access.value in one.tags), one.method_access)
    assert one.access == (said if one.is_trusted else strictest(said, one.method_access))
    assert one.is_premium is False


@given(operations())
def test_an_operation_survives_being_written_down(one):
    again = type(one).model_validate(one.model_dump())
    assert (again, again.fingerprint, again.key) == (one, one.fingerprint, one.key)


@given(resources(), tool_results | raw_answers, st.sampled_from(["memo://ant", "memo://x/y"]))
def test_contents_are_never_empty_and_all_of_them_resources(one, answer, uri):
    try:
        result = resource_contents(one, answer, uri)
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
    (block,) = resource_contents(resource(), answer, "memo://ant").content
    assert block == EmbeddedResource("memo://ant", "application/pdf", blob=base64.b64encode(b"\x00\xff").decode())


def test_what_the_back_end_says_of_the_type_counts_more_than_the_manifest():
    plain = resource(mime_type="text/markdown")
    told = resource_contents(plain, RawAnswer(b"{}", "application/json"), "memo://ant").content
    silent = resource_contents(plain, ToolResult((TextContent("x"),)), "memo://ant").content
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


@pytest.mark.parametrize("name", ["a:b", "A9+.-:!~", "memo://ant", "memo:" + "x" * 2043])
def test_an_absolute_uri_names_a_resource(name):
    assert resource(name).name == name
    for wrong in (
        f" {name}",
        f"{name}\n",
        f"9{name}",
        name.replace(":", ""),
        name.partition(":")[0] + ":",
        f"{name}\x7f",
    ):
        with pytest.raises(ValidationError):
            resource(wrong)


def test_a_uri_is_not_longer_than_clients_send():
    with pytest.raises(ValidationError, match="2048"):
        resource("memo:" + "x" * 2044)


def test_a_template_takes_the_strings_of_its_variables_unless_its_schema_says_otherwise():
    one = resource("memo://{a}/{b}")
    assert one.input_schema == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    own = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert resource("memo://{a}", input_schema=own).input_schema == own


def test_a_resource_matches_its_own_uri_and_a_template_those_that_fit():
    assert resource().match("memo://ant") == {}
    assert resource().match("memo://bee") is None
    assert resource("memo://{a}").match("memo://bee") == {"a": "bee"}
    assert resource("memo://{a}").match("memo://bee/x") is None


def test_values_are_proposed_for_variables_of_the_template_only():
    completions = {"a": ("x", "y")}
    assert resource("memo://{a}", completions=completions).completions == completions
    with pytest.raises(ValidationError, match="completions for b, c, which is no variable of the URI template"):
        resource("memo://{a}", completions={"c": (), "b": (), "a": ()})
    with pytest.raises(ValidationError, match="completions for a, which"):
        resource(completions=completions)


def test_a_size_is_not_negative():
    assert [resource(size=size).size for size in (None, 0, 5)] == [None, 0, 5]
    with pytest.raises(ValidationError, match="size"):
        resource(size=-1)


@pytest.mark.parametrize(("status", "is_gone"), [("404 Not Found", True), ("410 Gone", True), ("403 No", False)])
def test_a_back_end_that_has_no_such_thing_means_not_found(status, is_gone):
    answer = RawAnswer(b"no", "text/plain", is_error=True, status=status)
    if is_gone:
        with pytest.raises(ResourceNotFound) as unknown:
            resource_contents(resource(), answer, "memo://x")
        assert unknown.value.name == "memo://x"
    else:
        assert resource_contents(resource(), answer, "memo://x") == ToolResult.error(f"{status}\nno")
    fine = RawAnswer(b"no", "text/plain", status=status)
    assert resource_contents(resource(), fine, "memo://x").content == (
        EmbeddedResource("memo://x", "text/plain", text="no"),
    )


PARTS = [
    (TextContent("a"), EmbeddedResource("memo://x", "text/markdown", text="a")),
    (ImageContent("AAAA", "image/png"), EmbeddedResource("memo://x", "image/png", blob="AAAA")),
    (AudioContent("AAAA", "audio/wav"), EmbeddedResource("memo://x", "audio/wav", blob="AAAA")),
    (EmbeddedResource("own://y", "a/b", "t"), EmbeddedResource("own://y", "a/b", "t")),
    (EmbeddedResource("own://y", None, blob="AAAA"), EmbeddedResource("own://y", "text/markdown", blob="AAAA")),
    (EmbeddedResource("", None, "t"), EmbeddedResource("memo://x", "text/markdown", "t")),
]


def test_every_block_becomes_contents_of_the_uri_that_was_read_unless_it_names_its_own():
    result = ToolResult(tuple(part for part, _ in PARTS))
    contents = resource_contents(resource(mime_type="text/markdown"), result, "memo://x").content
    assert contents == tuple(expected for _, expected in PARTS)


def test_no_answer_is_an_empty_text_and_an_error_stays_one():
    assert resource_contents(resource(mime_type="text/plain"), ToolResult(()), "memo://x").content == (
        EmbeddedResource("memo://x", "text/plain", text=""),
    )
    failed = ToolResult.error("no")
    assert resource_contents(resource(), failed, "memo://x") is failed


def test_the_type_of_what_a_back_end_sends_is_its_own_else_the_manifests():
    typed = resource(mime_type="text/markdown")
    for media_type, expected in (("text/csv", "text/csv"), ("", "text/markdown")):
        (block,) = resource_contents(typed, RawAnswer(b"a", media_type), "memo://x").content
        assert block == EmbeddedResource("memo://x", expected, text="a")


def test_a_prompts_schema_describes_its_arguments():
    arguments = ({"name": "a", "description": "what", "required": True}, PromptArgument(name="b"))
    prompt = Prompt.model_validate({"name": "p", "binding": BINDING, "arguments": arguments})
    assert prompt.input_schema == {
        "type": "object",
        "properties": {"a": {"type": "string", "description": "what"}, "b": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert Prompt(name="p", binding=BINDING).input_schema["properties"] == {}
    assert Prompt(name="p", binding=BINDING, input_schema={"type": "object"}).input_schema["required"] == []


def test_two_arguments_with_one_name_are_told():
    with pytest.raises(ValidationError, match="two arguments have the same name"):
        Prompt(name="p", binding=BINDING, arguments=({"name": "a"}, {"name": "b"}, {"name": "a"}))
    with pytest.raises(ValidationError):
        Prompt.model_validate("no object")


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
        resource_contents(one, RawAnswer(b"", "", is_error=True, status=status), "memo://x")
    assert resource_contents(one, RawAnswer(b"", "", is_error=True, status="500 Oops"), "memo://x").is_error
    assert not resource_contents(one, RawAnswer(b"x", "text/plain", status="404 Not Found"), "memo://x").is_error
