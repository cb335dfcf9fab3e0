"""The contents of a resource, from the answer of its back end (MCP `resources/read`)."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import raw_answers, resources, tool_results

from stoa.application.catalogue.resource_contents import resource_contents
from stoa.domain.errors import ResourceNotFound
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding
from stoa.domain.results.result import AudioContent, EmbeddedResource, ImageContent, RawAnswer, TextContent, ToolResult

BINDING = LocalBinding(function="f")


def resource(name="memo://ant", **fields):
    return Resource(uri=name, binding=BINDING, **fields)


@given(resources(), tool_results | raw_answers, st.sampled_from(["memo://ant", "memo://x/y"]))
def test_resource_contents_are_never_empty_and_each_is_a_resource(one, answer, uri):
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


def test_resource_contents_do_not_show_the_address_of_the_back_end():
    answer = RawAnswer(b"\x00\xff", "application/pdf", uri="http://internal.example/x")
    (block,) = resource_contents(resource(), answer, "memo://ant").content
    assert block == EmbeddedResource("memo://ant", "application/pdf", blob=base64.b64encode(b"\x00\xff").decode())


def test_resource_contents_have_the_media_type_of_the_answer_before_that_of_the_manifest():
    plain = resource(mime_type="text/markdown")
    told = resource_contents(plain, RawAnswer(b"{}", "application/json"), "memo://ant").content
    silent = resource_contents(plain, ToolResult((TextContent("x"),)), "memo://ant").content
    assert [block.mime_type for block in (*told, *silent)] == ["application/json", "text/markdown"]


@pytest.mark.parametrize(("status", "is_gone"), [("404 Not Found", True), ("410 Gone", True), ("403 No", False)])
def test_resource_contents_are_not_found_where_the_back_end_has_none(status, is_gone):
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


def test_resource_contents_name_the_uri_that_was_read_unless_a_block_names_its_own():
    result = ToolResult(tuple(part for part, _ in PARTS))
    contents = resource_contents(resource(mime_type="text/markdown"), result, "memo://x").content
    assert contents == tuple(expected for _, expected in PARTS)


def test_resource_contents_of_no_answer_are_an_empty_text_and_an_error_stays_one():
    assert resource_contents(resource(mime_type="text/plain"), ToolResult(()), "memo://x").content == (
        EmbeddedResource("memo://x", "text/plain", text=""),
    )
    failed = ToolResult.error("no")
    assert resource_contents(resource(), failed, "memo://x") is failed


def test_resource_contents_take_the_media_type_of_the_manifest_where_the_answer_has_none():
    typed = resource(mime_type="text/markdown")
    for media_type, expected in (("text/csv", "text/csv"), ("", "text/markdown")):
        (block,) = resource_contents(typed, RawAnswer(b"a", media_type), "memo://x").content
        assert block == EmbeddedResource("memo://x", expected, text="a")


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
def test_resource_contents_that_are_gone_are_not_found(status):
    one = Resource(uri="memo://x", binding=BINDING)
    with pytest.raises(ResourceNotFound):
        resource_contents(one, RawAnswer(b"", "", is_error=True, status=status), "memo://x")
    assert resource_contents(one, RawAnswer(b"", "", is_error=True, status="500 Oops"), "memo://x").is_error
    assert not resource_contents(one, RawAnswer(b"x", "text/plain", status="404 Not Found"), "memo://x").is_error


def test_resource_contents_leave_response_headers_out() -> None:
    contents = resource_contents(
        resource("memo://a"), RawAnswer(b"text", "text/plain", headers=(("Location", "/pets/7"),)), "memo://a"
    )
    assert len(contents.content) == 1
