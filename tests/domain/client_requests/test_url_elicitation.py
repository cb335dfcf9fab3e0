"""Where a client's user may be sent."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stoa.domain.client_requests.url_elicitation import UrlElicitationRequest
from stoa.domain.errors import InvalidInput


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


@example("token", "?a;", "")
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


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://e/" + "x" * 2039, "the URL must be at most 2048 visible ASCII characters"),
        ("https://e/a b", "the URL must be at most 2048 visible ASCII characters"),
        ("https://e/\\", "the URL must be at most 2048 visible ASCII characters"),
        ("", "the URL must be at most 2048 visible ASCII characters"),
        ("https://e:port/", "the URL's host or port cannot be read"),
        ("https://e:70000/", "the URL's host or port cannot be read"),
        ("https://[e/", "the URL's host or port cannot be read"),
        ("https:///connect", "the URL must be absolute"),
        ("/connect", "the URL must be absolute"),
        ("http://login.example/", "the URL must begin with https:// (http:// on loopback only)"),
        ("ftp://localhost/", "the URL must begin with https:// (http:// on loopback only)"),
        ("https://user@login.example/", "the URL must not carry a user name or password"),
        ("https://@login.example/", "the URL must not carry a user name or password"),
    ],
)
def test_a_refused_url_is_told_why(url: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        page(url)
    assert refused.value.message == f"elicitation: {message}"


def test_a_url_of_2048_characters_is_not_too_long() -> None:
    url = "https://login.example/" + "x" * 2026
    assert page(url).host == "login.example"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "a.localhost", "LOCALHOST"])
def test_this_machine_is_reached_without_tls(host: str) -> None:
    assert page(f"http://{host}/x").host == host.strip("[]").lower()


@pytest.mark.parametrize("host", ["10.0.0.1", "[::2]", "localhost.example", "mylocalhost", "0.0.0.0"])
def test_no_other_machine_is(host: str) -> None:
    with pytest.raises(InvalidInput, match="must begin with https"):
        page(f"http://{host}/x")


SECRET_NAMES = [
    *("access_token", "api-key", "apiToken", "auth", "Authorization", "auth.token", "bearer", "client_secret", "code"),
    *("credential", "credentials", "id_token", "jwt", "key", "passwd", "password", "pwd", "refresh_token", "secret"),
    *("session_id", "session_token", "sig", "signature", "token"),
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_parameter_that_opens_something_is_recognised_however_it_is_written(name: str) -> None:
    for written in (name, name.upper(), "".join(f"{c}-" for c in name)):
        with pytest.raises(InvalidInput) as refused:
            page(f"https://login.example/?a=&{written}=")
        assert refused.value.message == (
            f"elicitation: the URL's parameter {written[:40]!r} looks like a credential; the page must ask its "
            "visitor to log in instead"
        )


@pytest.mark.parametrize(
    "value", ["eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.sig", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "eyJ-_0.A-_9.A-_z"]
)
def test_a_signed_token_is_recognised_by_its_form(value: str) -> None:
    for place in ("?x=", "#x=", "?x=1;y="):
        with pytest.raises(InvalidInput, match="looks like a credential"):
            page(f"https://login.example/{place}{value}")


@pytest.mark.parametrize("value", ["eyJ.a.b", "eyJa.b", "eyJa..c", "a.b.c", "xeyJhb.cd.ef", "eyJa.b.c.d", "eyja.b.c"])
def test_what_only_looks_a_little_like_a_token_is_let_through(value: str) -> None:
    assert page(f"https://login.example/?x={value}").url.endswith(value)


def test_a_request_without_an_id_is_told_so() -> None:
    with pytest.raises(InvalidInput, match=r"^elicitation: elicitation_id must not be empty$"):
        UrlElicitationRequest("Log in", "https://login.example/", "")
