"""Patterns of other dialects, rewritten for ECMA-262, Python and Rust."""

import re

import pytest
from tests.infrastructure.openapi.documents import convert, messages, properties, with_body

from stoa.infrastructure.openapi.keywords import portable_pattern
from stoa.infrastructure.openapi.patterns import ecma_pattern


@pytest.mark.parametrize(
    ("written", "rewritten"),
    [
        (r"\A[a-z]+\Z", r"^[a-z]+$"),
        (r"\A\d\z", r"^\d$"),
        ("/^[a-z]+$/i", "^[a-zA-Z]+$"),
        (r"/^\/v1$/", r"^\/v1$"),
        ("(?i)^ab[c-e]$", "^[aA][bB][c-eC-E]$"),
        ("(?i:a)b", "(?:[aA])b"),
        (r"(?P<y>\d{4})-(?<m>\d\d)", r"(\d{4})-(\d\d)"),
        ("[[:alpha:]_]+", "[a-zA-Z_]+"),
        (r"^[\w\-\.]+\@x\_y$", r"^[\w\-\.]+@x_y$"),
        ("^{id}$", r"^\{id\}$"),
        ("[^]]+", r"[^\]]+"),
        (r"\x{41}\e", r"\u0041\x1b"),
        (r"\Qa.b\E+", r"a\.b+"),
        ("(?s)a.b", r"a[\s\S]b"),
        (r"a(?#first)\h", r"a[ \t]"),
        (r"[+-\d]", r"[+\-\d]"),
    ],
)
def test_pattern_of_another_dialect_is_rewritten(written, rewritten):
    assert ecma_pattern(written) == rewritten
    assert portable_pattern(written) == rewritten
    assert ecma_pattern(rewritten) == rewritten


@pytest.mark.parametrize(
    "pattern",
    [
        "^[a-z]+$",
        r"^\d{1,3}(?:\.\d+)?$",
        "^(a|b)*?$",
        r"(?=.*[A-Z]).{8,}",
        r"^/v1/[^/]*$",
        "/v1",
        r"[+\-]?\s",
        r"(a)\1",
        "",
    ],
)
def test_pattern_in_the_common_dialect_stays_as_it_is(pattern):
    assert ecma_pattern(pattern) == pattern
    assert portable_pattern(pattern) == pattern


@pytest.mark.parametrize(
    "pattern",
    ["a++b", "(?>ab)c", r"^\p{L}+$", "(?m)^a", "a(?i)b", "[a-z&&[^b]]", "*a", "(", ")", "[a", r"\G", r"(?<n>a)\k<n>"],
)
def test_pattern_that_cannot_be_rewritten_is_dropped_with_a_finding(pattern):
    assert portable_pattern(pattern) is None
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}}}
    conversion = convert(with_body(schema))
    assert properties(conversion.tools[0])["x"] == {"type": "string"}
    assert "`pattern` is no regular expression for all clients" in messages(conversion)


@pytest.mark.parametrize(
    ("written", "text", "is_match"),
    [
        (r"\Aab\Z", "ab", True),
        (r"\Aab\Z", "cab", False),
        ("/^ab$/i", "AB", True),
        ("(?i)[^a-c]", "B", False),
        (r"^\-\_$", "-_", True),
    ],
)
def test_pattern_that_is_rewritten_matches_the_same_texts(written, text, is_match):
    assert bool(re.search(ecma_pattern(written) or "", text)) is is_match
