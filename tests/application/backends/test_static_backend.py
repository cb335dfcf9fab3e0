"""Contents that are written down: arguments are put in once, and nothing in them is looked at again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import unicode_text

from stoa.application.backends.static_backend import StaticBackend
from stoa.application.ports import CallContext
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.operations.binding import LocalBinding, StaticBinding
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.policy.decision import Permit
from stoa.domain.results.result import EmbeddedResource, ImageContent, PromptMessage, TextContent

ANN = Principal.of("ann")
NAMES = ({"name": "a", "required": True}, {"name": "b-1"})


def prompt(*messages, **fields):
    binding = {"kind": "static", "messages": [{"role": "user", **message} for message in messages]}
    return Prompt.model_validate({"name": "p", "arguments": NAMES, "binding": binding, **fields})


async def get(one, **arguments):
    call = StaticBackend().prepare(one)
    return await call({name.replace("_", "-"): value for name, value in arguments.items()}, context(one))


def context(one):
    return CallContext(Permit(one.key, ()), ANN, "r-1")


hostile = st.sampled_from(["{{a}}", "{{b-1}}", "{{", "}}", "\\1", "\\g<0>", "{a}", "%s"]) | unicode_text


@given(hostile, hostile)
async def test_a_value_is_put_in_as_it_is_and_brings_no_placeholders(a, b):
    result = await get(prompt({"text": "{{a}}|{{ b-1 }}|{{a}}|{c}"}), a=a, b_1=b)
    assert result.messages == (PromptMessage("user", TextContent(f"{a}|{b}|{a}|{{c}}")),)


async def test_an_argument_that_is_not_given_leaves_nothing():
    assert (await get(prompt({"text": "x{{b-1}}y"}), a="1")).messages[0].content == TextContent("xy")


async def test_images_and_resources_are_messages_too():
    image = {"image": {"data": "aW1n", "mime_type": "image/png"}}
    resource = {"resource": {"uri": "{{a}}", "mime_type": "text/plain", "text": "about {{a}}"}, "role": "assistant"}
    result = await get(prompt(image, resource), a="memo://x")
    assert result.messages == (
        PromptMessage("user", ImageContent("aW1n", "image/png")),
        PromptMessage("assistant", EmbeddedResource("memo://x", "text/plain", text="about memo://x")),
    )


async def test_the_contents_of_a_resource_are_given_as_they_stand():
    contents = [{"uri": "memo://x", "text": "{{a}}"}, {"uri": "memo://x/2", "blob": "AAE="}]
    one = Resource.model_validate({"uri": "memo://x", "binding": {"kind": "static", "contents": contents}})
    result = await get(one)
    assert result.content == (
        EmbeddedResource("memo://x", text="{{a}}"),
        EmbeddedResource("memo://x/2", blob="AAE="),
    )


async def test_values_cannot_make_the_answer_grow_without_bound():
    many = prompt({"text": "{{a}}" * 100})
    with pytest.raises(InvalidArguments):
        await get(many, a="x" * 100_000)


def test_a_placeholder_without_an_argument_is_refused_when_it_is_registered():
    with pytest.raises(InvalidInput, match=r"\{\{c\}\}"):
        StaticBackend().prepare(prompt({"text": "{{c}}"}))


def test_another_kind_of_binding_is_refused():
    with pytest.raises(InvalidInput, match="not static"):
        StaticBackend().prepare(prompt(binding=LocalBinding(function="f")))


@pytest.mark.parametrize("message", [{}, {"text": "a", "image": {"data": "", "mime_type": "image/png"}}])
def test_a_message_has_exactly_one_form(message):
    with pytest.raises(ValueError, match="exactly one"):
        StaticBinding.model_validate({"messages": [{"role": "user", **message}]})


@pytest.mark.parametrize("form", [{}, {"text": "a", "blob": "AA=="}])
def test_contents_have_exactly_one_form(form):
    with pytest.raises(ValueError, match="exactly one of text and blob"):
        StaticBinding.model_validate({"contents": [{"uri": "memo://x", **form}]})
