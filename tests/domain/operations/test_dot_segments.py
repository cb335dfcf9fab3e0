"""Dot segments are found however they are spelled, and only where there is one."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.operations.dot_segments import holds_dot_segment

SPELLINGS = [
    ".", "..", "../x", "x/..", "a/../../b", "a/./b", "..\\x", "\\..\\..", "%2e%2e", "%2E.", ".%2e", "%252e%252e%252fx",
    "%25252e%25252e", "..%2fx", "..%5cx", "..;", "..;/x", "..;a=b/x", "%2e%2e;/x", "..%3b/x", "\uff0e\uff0e", "\u2025",
    "\u2024.", "a\uff0f..\uff0fb", "..\uff3cx", "\uff05\uff12\uff25.", "%uff0e%uff0e", "%u002e%u002e", "..%00x",
    ".%09.", "%c0%ae%c0%ae", "%C0%AE.", "%e0%80%ae.", "..%c0%afx", "x%c1%9c..", "..?x", "..#x", ".. ",
    ".. /x", "..%20/x",
]  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
def test_dot_segments_are_found_in_every_spelling(text):
    assert holds_dot_segment(text)


@pytest.mark.parametrize(
    "text",
    ["", "...", "....", "\u2026", "v1.2", "a..b", ".hidden", "x.", "x..", "..x", "a/b", "a/...", "1.0.0-rc.1", "100%",
     "50%desconto", "%zz", "ä.ö", "a;b", "a.;b", "x..;", "日本語。", "main...topic", "https://h.test/a?b=c", "~.ssh"],
)  # fmt: skip
def test_dot_segments_are_found_only_where_there_is_one(text):
    assert not holds_dot_segment(text)


@given(st.sampled_from(["..", ".", "../admin", "a/../b"]), st.integers(0, 30))
def test_dot_segments_are_found_after_any_number_of_encodings(text, times):
    for _ in range(times):
        text = quote(text, safe="").replace(".", "%2E")
    assert holds_dot_segment(text)


@given(st.text("ab.", min_size=1), st.text("ab.", min_size=1))
def test_dot_segments_of_plain_text_are_whole_segments(first, second):
    assert holds_dot_segment(f"{first}/{second}") == bool({first, second} & {".", ".."})


def test_dot_segments_of_long_text_take_a_bounded_number_of_decodings():
    assert holds_dot_segment("%" + "25" * 500_000)  # would be decoded half a million times
