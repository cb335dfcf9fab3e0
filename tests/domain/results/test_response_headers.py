"""Response headers: what callers get of them, and what they never get."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.results.redaction import redact
from stoa.domain.results.response_headers import ALWAYS_KEPT, MAX_HEADERS, MAX_VALUE, kept, kept_names
from stoa.domain.results.result import SIZE_LIMIT, RawAnswer, TextContent, ToolResult, shape

PLACE = (("Location", "/orders/7"),)
LATER = (("Retry-After", "30"), ("ETag", '"v1"'))


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie", "set-cookie2", "WWW-Authenticate", "Proxy-Authenticate", "Authorization", "Authentication-Info",
        "X-Auth-Token", "X-API-Key", "x-apikey", "X-CSRF-Token", "X-Session-Id", "X-Amz-Signature", "X-Client-Secret",
        "X-Auth", "Content-Type", "Transfer-Encoding", "Connection", "a b", "", "x:y",
    ],
)  # fmt: skip
def test_response_headers_that_carry_credentials_or_are_for_the_connection_are_never_kept(name: str) -> None:
    assert kept_names([name]) == ALWAYS_KEPT


def test_response_headers_that_are_documented_are_kept_besides_those_that_always_are() -> None:
    assert kept_names(["X-Total-Count", "location", "x-total-count", "Deprecation"]) == (
        *ALWAYS_KEPT,
        "X-Total-Count",
        "Deprecation",
    )
    assert len(kept_names(f"X-{number}" for number in range(1000))) == MAX_HEADERS


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["/a"], "/a"),
        (["a", "b"], "a, b"),
        (["x" * MAX_VALUE], "x" * MAX_VALUE),
        (["x" * (MAX_VALUE + 1)], None),
        ([""], None),
        ([], None),
        (["a\x1b[31m"], None),
        (["\udcff"], None),
        (["https://user:pw@host/a"], None),
        (["<//u@host/a>; rel=next"], None),
        (["https://host/a?mail=a@b.example"], "https://host/a?mail=a@b.example"),
        (["/a?key=s3/cr+t"], None),
        (["/a?key=s3%2Fcr%2bt"], None),
    ],
)
def test_response_headers_are_kept_whole_or_not_at_all(values: list[str], expected: str | None) -> None:
    found = kept(["Link"], lambda _: values, ("", "s3/cr+t"))
    assert found == (() if expected is None else (("Link", expected),))


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        (RawAnswer(b"", "", status="201 Created", headers=PLACE), ["201 Created\nLocation: /orders/7"]),
        (RawAnswer(b'{"id":7}', "application/json", headers=PLACE), ['{"id":7}', "Location: /orders/7"]),
        (RawAnswer(b"{}", "application/json", headers=(("ETag", '"v"'), ("Link", "<a>"))), ["{}"]),
        (
            RawAnswer(b"busy", "text/plain", is_error=True, status="503 Unavailable", headers=LATER),
            ["503 Unavailable\nRetry-After: 30\nbusy"],
        ),
        (
            RawAnswer(b"\x00", "image/png", is_error=True, status="503 Unavailable", headers=LATER),
            ["503 Unavailable (image/png, 1 bytes not shown)\nRetry-After: 30"],
        ),
    ],
)
def test_response_headers_that_say_where_and_when_are_in_the_text(answer: RawAnswer, texts: list[str]) -> None:
    result = shape(answer)
    assert [block.text for block in result.content if isinstance(block, TextContent)] == texts
    assert result.headers == answer.headers
    assert result.is_error == answer.is_error


@given(st.binary(max_size=40), st.sampled_from(["", "application/json", "text/plain", "image/png"]), st.booleans())
def test_response_headers_change_nothing_else_of_an_answer(body: bytes, kind: str, is_error: bool) -> None:
    headers = (("Location", "ü" * MAX_VALUE), ("Retry-After", "x" * MAX_VALUE))
    plain = shape(RawAnswer(body, kind, is_error=is_error, status="201 Created"))
    result = shape(RawAnswer(body, kind, is_error=is_error, status="201 Created", headers=headers))
    assert (result.is_error, result.structured) == (plain.is_error, plain.structured)
    assert plain.size < result.size <= SIZE_LIMIT


def test_response_headers_are_withheld_where_something_is_redacted() -> None:
    result = shape(RawAnswer(b'{"id":7,"ssn":1}', "application/json", headers=(("Location", "/people/ssn-1"),)))
    redacted = redact(result, ["/ssn"])
    assert redacted == ToolResult((TextContent('{"id":7,"ssn":"[redacted]"}'),), {"id": 7, "ssn": "[redacted]"})
    assert redact(ToolResult.error("x"), ["/ssn"]).headers == ()
