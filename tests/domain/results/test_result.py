"""Shaping raw answers: whatever a back end says becomes a result that can be sent as JSON."""

import base64
import json
import sys
from dataclasses import replace

import pydantic_core
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.strategies import content_blocks, raw_answers, tool_results

from stoa.domain.results.result import (
    BINARY_LIMIT,
    MISSING,
    SIZE_LIMIT,
    TEXT_LIMIT,
    AudioContent,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    RawAnswer,
    TextContent,
    ToolResult,
    parsed_whole,
    shape,
    shape_long,
)

MEDIA_TYPES = st.sampled_from(
    ["", "application/json", "application/problem+json", "text/plain", "text/csv", "image/png", "image/svg+xml"]
) | st.sampled_from(["audio/wav", "application/octet-stream", "application/pdf"])
CHARSETS = st.sampled_from(
    [
        "utf-8",
        "latin-1",
        "utf-16",
        "utf-7",
        "idna",
        "punycode",
        "unicode_escape",
        "undefined",
        "rot13",
        "hex",
        "no-such",
    ]
) | st.text(max_size=20)
BODIES = (
    st.binary(max_size=200)
    | st.text(max_size=100).map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ).map(pydantic_core.to_json)
)


def as_json(result: ToolResult) -> bytes:
    structured = None if result.structured is MISSING else result.structured
    return pydantic_core.to_json([[str(block) for block in result.content], structured], inf_nan_mode="constants")


@given(BODIES, MEDIA_TYPES | st.text(max_size=30), CHARSETS, st.booleans(), st.text(max_size=20))
@example(b"+2AA-", "text/plain", "utf-7", False, "200 OK")
@example(b"\\ud800 \\q", "text/plain", "unicode_escape", False, "200 OK")
@example(b"abc", "text/plain", "utf\0", False, "200 OK")
@example(b"[1e999]", "application/json", "utf-8", False, "200 OK")
@example(b"-" + b"9" * 400 + b".0", "application/json", "utf-8", False, "200 OK")
@example(b"9" * 5000, "application/json", "utf-8", False, "200 OK")
@example(b"[" * 100_000, "application/json", "utf-8", False, "200 OK")
def test_every_answer_becomes_a_result_that_json_can_carry(body, media_type, charset, is_error, status):
    result = shape(RawAnswer(body, media_type, charset, is_error, status))

    assert len(result.content) == 1
    assert result.is_error == is_error
    again = pydantic_core.from_json(as_json(result), allow_inf_nan=False)
    if result.structured is not MISSING:
        assert again[1] == result.structured


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_comes_back_structured_and_as_its_own_text(value):
    body = pydantic_core.to_json(value)

    result = shape(RawAnswer(body, "application/json"))

    assert result.structured == value
    assert result.content == (TextContent(body.decode()),)


def test_a_byte_order_mark_before_json_is_not_part_of_it():
    assert shape(RawAnswer(b"\xef\xbb\xbf[1]", "application/json")) == ToolResult((TextContent("[1]"),), [1])


@pytest.mark.parametrize("media_type", ["", "application/json", "text/plain", "image/png"])
def test_an_empty_answer_shows_its_status(media_type):
    assert shape(RawAnswer(b"", media_type, status="204 No Content")) == ToolResult((TextContent("204 No Content"),))


def test_an_error_shows_status_and_text_and_is_not_structured():
    result = shape(RawAnswer(b'{"detail":"no"}', "application/json", is_error=True, status="404 Not Found"))

    assert result == ToolResult.error('404 Not Found\n{"detail":"no"}')


def test_text_is_read_in_its_own_charset():
    assert shape(RawAnswer("Grüße".encode("latin-1"), "text/plain", "iso-8859-1")).content == (TextContent("Grüße"),)


def test_text_in_an_unknown_charset_is_read_as_utf_8():
    assert shape(RawAnswer("Grüße".encode(), "text/plain", "utf8mb4")).content == (TextContent("Grüße"),)


def test_long_text_is_cut_with_a_note_and_loses_its_structure():
    result = shape(RawAnswer(b'"' + b"a" * TEXT_LIMIT + b'"', "application/json"))

    (block,) = result.content
    assert isinstance(block, TextContent)
    assert block.text.endswith(f"[truncated: {TEXT_LIMIT + 2} characters, {TEXT_LIMIT} shown]")
    assert result.structured is MISSING


@pytest.mark.parametrize(("media_type", "kind"), [("image/png", ImageContent), ("audio/wav", AudioContent)])
def test_pictures_and_sound_get_their_own_block(media_type, kind):
    (block,) = shape(RawAnswer(b"\x89\x00", media_type)).content

    assert block == kind(base64.b64encode(b"\x89\x00").decode(), media_type)


def test_other_binary_content_is_an_embedded_resource():
    (block,) = shape(RawAnswer(b"%PDF\x00\xff", "application/pdf", uri="https://api.test/report")).content

    assert block == EmbeddedResource(
        "https://api.test/report", "application/pdf", blob=base64.b64encode(b"%PDF\x00\xff").decode()
    )


def test_binary_content_beyond_the_limit_is_replaced_by_a_note():
    (block,) = shape(RawAnswer(b"\x00" * (BINARY_LIMIT + 1), "application/zip")).content

    assert isinstance(block, TextContent)
    assert f"{BINARY_LIMIT + 1} bytes not shown" in block.text


def test_the_limits_are_the_documented_ones():
    assert (TEXT_LIMIT, BINARY_LIMIT) == (262_144, 5_242_880)
    assert len(base64.b64encode(b"x" * BINARY_LIMIT)) <= SIZE_LIMIT


@given(tool_results, st.lists(content_blocks, max_size=2))
def test_the_size_is_the_bytes_of_what_goes_out(result, blocks):
    def sent(block):
        texts = [getattr(block, name, None) or "" for name in ("text", "data", "blob")]
        return sum(len(text.encode()) for text in texts)

    messages = tuple(PromptMessage("user", block) for block in blocks)
    whole = replace(result, messages=messages)
    assert whole.size == sum(map(sent, (*result.content, *blocks)))


def test_half_a_character_counts_as_what_is_sent_in_its_place():
    assert ToolResult((TextContent("\ud800"), EmbeddedResource("a:b", None, "\ud800ä"))).size == 1 + 3


@given(raw_answers)
def test_no_answer_is_larger_than_the_limit_says(answer):
    assert shape(answer).size <= SIZE_LIMIT


@pytest.mark.parametrize(
    ("media_type", "structured"),
    [
        ("application/json", {"a": 1}),
        ("application/problem+json", {"a": 1}),
        ("", {"a": 1}),
        ("text/plain", MISSING),
        ("application/jsonp", MISSING),
        ("text/json", MISSING),
        ("x+jsonx", MISSING),
    ],
)
def test_json_is_what_says_so_or_says_nothing(media_type, structured):
    result = shape(RawAnswer(b'{"a": 1}', media_type, status="200 OK"))
    assert result == ToolResult((TextContent('{"a": 1}'),), structured)


@pytest.mark.parametrize(
    "body", [b"{", b"[1e999]", b"[1E999]", b"[1e+999]", b"9" * 309 + b".0", b"NaN", b"[Infinity]", b"-1e400", b"\xff"]
)
def test_what_json_cannot_say_is_not_structured(body):
    assert shape(RawAnswer(body, "application/json")).structured is MISSING


@pytest.mark.parametrize("body", [b"[1e99]", b"[1e-999]", b"[1e308]", b'["1e999"]', b"9" * 400])
def test_large_numbers_that_json_can_say_are_structured(body):
    assert shape(RawAnswer(body, "application/json")).structured == json.loads(body)


def test_a_picture_that_is_text_or_nothing_is_text():
    assert shape(RawAnswer(b"<svg/>", "image/svg+xml")).content == (TextContent("<svg/>"),)
    assert shape(RawAnswer(b"", "audio/wav", status="204 No Content")).content == (TextContent("204 No Content"),)


def test_a_picture_that_looks_like_text_is_a_picture():
    assert shape(RawAnswer(b"abc", "image/png")).content == (ImageContent("YWJj", "image/png"),)
    assert shape(RawAnswer(b"abc", "audio/wav")).content == (AudioContent("YWJj", "audio/wav"),)


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        *((charset, "+AGE- \\x41 a-") for charset in ("utf-7", "UTF_7", "punycode", "unicode-escape", "undefined")),
        ("idna", "xn--bcher-kva"),
        ("raw_unicode_escape", "\\u0041"),
    ],
)
def test_a_codec_that_is_no_charset_is_not_used(charset, text):
    assert shape(RawAnswer(text.encode(), "text/plain", charset)).content == (TextContent(text),)


def test_null_is_structured_content_and_text_has_none():
    assert shape(RawAnswer(b"null", "application/json")).structured is None
    assert shape(RawAnswer(b"null", "text/plain")).structured is not None


def test_text_with_a_null_character_is_binary_unless_its_charset_explains_it():
    assert shape(RawAnswer(b"a\x00", "text/plain")).content == (
        EmbeddedResource("stoa://result", "text/plain", blob="YQA="),
    )
    assert shape(RawAnswer("ab".encode("utf-16"), "text/plain", "utf-16")).content == (TextContent("ab"),)
    assert shape(RawAnswer(b"a\x00", "")).content[0].mime_type == "application/octet-stream"


@pytest.mark.parametrize(("length", "is_cut"), [(TEXT_LIMIT, False), (TEXT_LIMIT + 1, True)])
def test_text_is_cut_after_the_limit(length, is_cut):
    note = f"\n[truncated: {length} characters, {TEXT_LIMIT} shown]" if is_cut else ""
    for is_error in (False, True):
        result = shape(RawAnswer(b"a" * length, "text/plain", is_error=is_error, status="500 Oops"))
        start = "500 Oops\n" if is_error else ""
        assert result.content == (TextContent(f"{start}{'a' * TEXT_LIMIT}{note}"),)


def test_an_error_without_a_text_shows_its_status_alone():
    assert shape(RawAnswer(b"", "text/plain", is_error=True, status="502 Bad")) == ToolResult.error("502 Bad")


def test_binary_content_at_the_limit_is_shown_and_of_an_error_never():
    (block,) = shape(RawAnswer(b"\x00" * BINARY_LIMIT, "application/zip")).content
    assert isinstance(block, EmbeddedResource)
    too_large = shape(RawAnswer(b"\x00" * (BINARY_LIMIT + 1), "application/zip"))
    assert too_large == ToolResult(
        (TextContent(f"more than {BINARY_LIMIT} bytes (application/zip, {BINARY_LIMIT + 1} bytes not shown)"),)
    )
    failed = shape(RawAnswer(b"\x00", "image/png", is_error=True, status="500 Oops"))
    assert failed == ToolResult.error("500 Oops (image/png, 1 bytes not shown)")


def test_a_byte_order_mark_in_utf_8_does_not_show():
    result = shape(RawAnswer(b"\xef\xbb\xbf{}", "application/json"))
    assert (result.content, result.structured) == ((TextContent("{}"),), {})


def test_an_error_result_is_its_text():
    assert ToolResult.error("no") == ToolResult((TextContent("no"),), MISSING, is_error=True)


def test_what_is_no_json_by_its_type_has_no_structure_even_if_it_could_be_read_as_json():
    for kind, structured in (
        ("text/plain", MISSING),
        ("application/json", {"a": 1}),
        ("application/hal+json", {"a": 1}),
    ):
        assert shape(RawAnswer(b'{"a": 1}', kind)).structured == structured


@pytest.mark.parametrize("media_type", ["application/json", "application/problem+json", ""])
@pytest.mark.parametrize("filler", [b"[],", "ä,".encode(), b'{"a":1e300},'])
def test_long_json_that_will_be_cut_is_not_parsed(media_type, filler):
    for size in (TEXT_LIMIT + 2, 3 * TEXT_LIMIT, 8 * TEXT_LIMIT):
        body = b"[" + filler * (size * 2 // len(filler)) + b"[]]"
        result, called = calls_within(lambda body=body: shape(RawAnswer(body, media_type)))
        assert pydantic_core.from_json not in called
        assert "[truncated: " in result.content[0].text
        assert len(result.content[0].text) < TEXT_LIMIT + 100
        assert result.structured is MISSING
    _, called = calls_within(lambda: shape(RawAnswer(b"[1]", "application/json")))
    assert pydantic_core.from_json in called


def calls_within(work):
    """The result of `work`, and the functions of extensions that it called."""
    called = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, function: called.append(function) if event == "c_call" else None)
    try:
        result = work()
    finally:
        sys.setprofile(before)
    return result, called


def test_long_json_in_few_characters_is_parsed():
    text = json.dumps(["ä" * (TEXT_LIMIT - 10)], ensure_ascii=False)
    assert len(text.encode()) > TEXT_LIMIT
    assert shape(RawAnswer(text.encode(), "application/json")).structured == json.loads(text)


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "shift_jis", "gb18030", "iso2022_jp", "latin-1", "euc_kr"])
@pytest.mark.parametrize("lead", ["", "a", "ab", "abc"])
def test_text_of_many_bytes_is_decoded_only_as_far_as_it_is_shown(charset, lead):
    character = "é" if charset == "latin-1" else "の"
    body = (lead + character * 5 * TEXT_LIMIT).encode(charset)
    (block,) = shape(RawAnswer(body, "text/plain", charset)).content
    assert block.text.startswith(lead + character * 1000)
    assert block.text.endswith(f"[truncated: {len(body)} bytes, {TEXT_LIMIT} characters shown]")


def test_text_that_is_not_what_its_charset_says_is_not_mended_by_cutting():
    body = b"\xff" + b"a" * 5 * TEXT_LIMIT
    assert shape(RawAnswer(body, "text/plain")).content[0].mime_type == "text/plain"


def test_answer_of_which_only_the_start_is_there_says_so_and_stays_json():
    body = ("[" + '{"a": 1}, ' * 1000)[:5000].encode()
    answer = RawAnswer(body, "application/json", is_cut=True, headers=(("ETag", "1"),))
    result = shape_long(answer, 1000)
    assert set(map(str, result.structured)) == {"{'a': 1}"}
    assert result.rest is not None
    assert result.rest.omitted.endswith("; what follows the first 5000 bytes of the answer was not read")
    assert sum(piece.text.count("a") for piece in result.rest.pieces) > 400
    assert parsed_whole(answer) is MISSING


@pytest.mark.parametrize(("kind", "body"), [("text/plain", b"text"), ("application/json", b'"text')])
def test_answer_of_which_only_the_start_is_there_and_has_no_structure_is_text(kind, body):
    for result in (shape(RawAnswer(body, kind, is_cut=True)), shape_long(RawAnswer(body, kind, is_cut=True), 1000)):
        assert result.content[0] == TextContent(body.decode())
        assert result.structured is MISSING
