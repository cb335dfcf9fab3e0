"""Where a client's user may be sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.errors import InvalidInput
from stoa.domain.url_elicitation import UrlElicitationRequest


def page(url: str) -> UrlElicitationRequest:
    return UrlElicitationRequest("Log in", url, "e")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Login.Example/connect?e=7&state=x", "login.example"),
        ("https://login.example:8443/", "login.example"),
        ("http://127.0.0.1:8080/connect", "127.0.0.1"),
        ("http://[::1]/x", "::1"),
        ("http://localhost/x", "localhost"),
        ("https://login.example/?monkey=1&design=2&keyboard=de", "login.example"),
    ],
)
def test_a_page_is_served_with_tls_or_on_this_machine(url: str, host: str) -> None:
    assert page(url).host == host


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example/",
        "http://127.0.0.1.example/",
        "http://10.0.0.1/",
        "ftp://login.example/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "/connect",
        "//login.example/",
        "https://",
        "https:///connect",
        "https://user@login.example/",
        "https://user:pass@login.example/",
        "https://login.example\\@other.example/",
        "https://other.example\\.login.example/",
        "https://login.example:port/",
        "https://[login/",
        "https://löwe.example/",
        "https://login.example/a b",
        "https://login.example/\n",
        "https://login.example/" + "x" * 2048,
        "",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"elicitation: the URL must|host or port"):
        page(url)


names = st.sampled_from(["token", "access_token", "Access-Token", "API_KEY", "apikey", "password", "client.secret",
                         "code", "sig", "jwt", "key", "sessionId"])  # fmt: skip


@given(names, st.sampled_from(["?", "?a=b&", "?a;", "#", "#a=b&"]), st.from_regex(r"[a-z0-9]{0,9}", fullmatch=True))
def test_a_url_that_opens_something_is_refused_and_its_secret_not_repeated(name: str, before: str, value: str) -> None:
    with pytest.raises(InvalidInput, match="looks like a credential") as refused:
        page(f"https://login.example/{before}{name}=s3cr3t{value}")
    assert "s3cr3t" not in refused.value.message


def test_a_signed_token_is_recognised_under_any_name() -> None:
    with pytest.raises(InvalidInput, match="credential"):
        page("https://login.example/?x=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.sig")


def test_it_needs_an_id() -> None:
    with pytest.raises(InvalidInput, match="elicitation_id"):
        UrlElicitationRequest("Log in", "https://login.example/", "")
