"""Resources and prompts: schemas that follow from names and arguments."""

import pytest
from hypothesis import given
from pydantic import ValidationError
from tests.strategies import operations, prompts, resources

from stoa.domain.operations.access import Access, strictest
from stoa.domain.operations.prompt import Prompt, PromptArgument
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding, Tool

BINDING = LocalBinding(function="f")


def resource(name="memo://ant", **fields):
    return Resource(uri=name, binding=BINDING, **fields)


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
    assert resource(name).uri == name
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
    one = Resource(uri="memo://x", binding=BINDING)
    assert (one.match("memo://x"), one.match("memo://y")) == ({}, None)


def test_completions_are_for_variables_of_the_template():
    with pytest.raises(ValidationError, match="size, which is no variable"):
        Resource(uri="memo://{colour}", binding=BINDING, completions={"colour": ("red",), "size": ("s",)})
