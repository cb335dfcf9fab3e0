"""Header values as the stateless era encodes them, held against the official SDK."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mcp.shared.inbound import decode_header_value, encode_header_value

from stoa.interfaces.mcp.jsonrpc.messages import Fault
from stoa.interfaces.mcp.wire.headers import Headers, decode_value

text = st.text(st.characters(exclude_categories=["Cs"]))
ascii_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))


@given(text)
@example("=?base64?=")
@example("=?base64?aGk=?=")
@example(" edge ")
@example("crm_get_customer")
def test_every_text_survives_the_header(value: str) -> None:
    assert decode_value(encode_header_value(value)) == value


@given(ascii_text | ascii_text.map(lambda payload: f"=?base64?{payload}?="))
@example("=?base64?=")
@example("=?base64??=")
@example("=?BASE64?aGk=?=")
@example("=?base64?aGk=")
@example("=?base64?aGl=?=")
@example("=?base64?aGk?=")
@example("=?base64?_-8=?=")
@example("=?base64?/w==?=")
def test_a_header_means_what_the_official_sdk_reads_in_it(value: str) -> None:
    try:
        ours = decode_value(value)
    except Fault as fault:
        assert fault.code == -32020
        ours = None
    assert ours == decode_header_value(value)


@pytest.mark.parametrize("value", ["caf\xe9", "a\x00b", "a\x7fb"])
def test_raw_bytes_outside_visible_ascii_are_refused(value: str) -> None:
    with pytest.raises(Fault) as refused:
        decode_value(value)
    assert refused.value.code == -32020


@given(st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=5)), max_size=6))
def test_the_last_of_equal_headers_is_read_and_blanks_around_it_are_not(raw: list[tuple[bytes, bytes]]) -> None:
    headers = Headers(raw)
    for name, value in dict(raw).items():
        assert headers.get(name) == value.decode("latin-1").strip(" \t")
    assert not headers.repeated


@pytest.mark.parametrize("name", [b"mcp-protocol-version", b"mcp-method", b"mcp-name"])
def test_a_routing_header_that_stands_there_twice_is_noticed(name: bytes) -> None:
    assert Headers([(name, b"x"), (name, b"x")]).repeated
    assert not Headers([(name, b"x"), (b"accept", b"x"), (b"accept", b"x")]).repeated


def test_the_base64_form_is_the_standard_one() -> None:
    value = "Grüße, 世界"
    assert decode_value(f"=?base64?{base64.b64encode(value.encode()).decode()}?=") == value


def test_headers_show_no_values_when_they_are_printed() -> None:
    assert "s3cr3t" not in repr(Headers([(b"authorization", b"Bearer s3cr3t")]))
