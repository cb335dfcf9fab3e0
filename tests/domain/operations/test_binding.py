"""Bindings: what a manifest can say about a back end, and what it cannot make the gateway do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from stoa.domain.operations.binding import (
    AnyBinding,
    Audience,
    Binding,
    LocalBinding,
    OAuthScope,
    PageBinding,
    RestBinding,
    SecretKey,
    SecretName,
    StaticBinding,
    StaticImage,
    StaticMessage,
    StaticResource,
    TokenGrant,
    TokenUrl,
    is_base64,
)

TOKEN = "https://auth.example/token"


def accepts(kind: Any, value: object) -> bool:
    try:
        return bool(TypeAdapter(kind).validate_python(value) == value)
    except ValidationError:
        return False


@pytest.mark.parametrize("name", ["a", "Z", "0", "pets-v1_2.key", "a--b", "x" * 253, "aZ9", "A.b"])
def test_a_secret_has_a_name_that_is_one_part_of_a_path(name: str) -> None:
    assert accepts(SecretName, name)
    assert accepts(SecretKey, name)


@pytest.mark.parametrize("name", ["", "-a", "a-", ".a", "a.", "_a", "a_", "x" * 254, "a/b", "a b", "../a", "a\n", "ä"])
def test_a_name_that_leads_to_another_tenants_secret_is_refused(name: str) -> None:
    assert not accepts(SecretName, name)


def test_an_entry_of_a_secret_may_begin_and_end_with_any_of_its_characters() -> None:
    assert all(accepts(SecretKey, key) for key in ("-", ".", "_key_", "tls.crt"))
    assert not any(accepts(SecretKey, key) for key in ("", "a/b", "a b", "x" * 254, "ä", "a\n"))


@pytest.mark.parametrize(
    "url",
    [
        TOKEN,
        "http://127.0.0.1:8080/t",
        "https://auth.example",
        "https://auth.example/realms/a.b/..c/token?x=1&y=/..",
        "https://auth.example:65535/" + "x" * 2021,
        "https://auth.example/%41",
        "https://auth.example/a...b/.../t",
    ],
)
def test_a_token_endpoint_is_any_plain_http_url(url: str) -> None:
    assert accepts(TokenUrl, url)


@pytest.mark.parametrize(
    "url",
    [
        *("", "auth.example/token", "ftp://auth.example/t", "https://", "https:///t", "https://user@auth.example/t"),
        *(
            f"{TOKEN}#x",
            f"{TOKEN}#",
            "https://auth.example/a b",
            "https://auth.example\\t",
            "https://auth.example/a\\t",
        ),
        *("https://auth.example:0/t", "https://auth.example:70000/t", "https://auth.example:x/t", "https://[auth/t"),
        *("https://:443/t", "https://auth.example/a?b\\", f"{TOKEN}\n", "https://auth.example/?a b"),
        *(
            "https://auth.example/..",
            "https://auth.example/../t",
            "https://auth.example/a/../t",
            "https://auth.example/.",
        ),
        *("https://auth.example/a/./t", "https://auth.example/%2E%2e/t", "https://auth.example/a%2Ft"),
        *("https://auth.example/a%5Ct", "https://auth.example/a%5ct", "https://auth.example/" + "x" * 2028),
        "XXhttps://auth.example/t",
    ],
)
def test_a_token_endpoint_that_leads_elsewhere_than_it_shows_is_refused(url: str) -> None:
    assert not accepts(TokenUrl, url)


def test_a_wrong_token_endpoint_is_told_what_to_write() -> None:
    for url in ("https://auth.example/../t", "https://[auth/t", "x"):
        with pytest.raises(ValidationError, match=r"write the http\(s\) URL of the token endpoint, without user"):
            TypeAdapter(TokenUrl).validate_python(url)


@given(st.text(max_size=4) | st.text(st.characters(max_codepoint=0x7F), max_size=4))
def test_audience_and_scopes_have_no_control_characters_and_a_scope_is_one_word(text: str) -> None:
    is_printable = bool(text) and not any(ord(c) < 0x20 or ord(c) == 0x7F for c in text)
    is_word = bool(text) and all(0x21 <= ord(c) <= 0x7E and c not in '"\\' for c in text)
    try:
        text.encode()
    except UnicodeEncodeError:
        is_printable = False
    assert accepts(Audience, text) == is_printable
    assert accepts(OAuthScope, text) == is_word


def test_audience_and_scopes_are_not_longer_than_a_header_can_be() -> None:
    assert accepts(Audience, "x" * 1024)
    assert not accepts(Audience, "x" * 1025)
    assert accepts(OAuthScope, "x" * 256)
    assert not accepts(OAuthScope, "x" * 257)


@pytest.mark.parametrize("edge", ["!", "#", "[", "]", "~"])
def test_the_edges_of_a_scopes_alphabet(edge: str) -> None:
    assert accepts(OAuthScope, edge)


def test_a_token_in_the_callers_name_is_for_one_back_end() -> None:
    with pytest.raises(ValidationError, match="tokenExchange needs audience"):
        TokenGrant(type="tokenExchange", token_url=TOKEN)
    assert TokenGrant(type="tokenExchange", token_url=TOKEN, audience="pets").audience == "pets"
    assert TokenGrant(type="clientCredentials", token_url=TOKEN).audience is None
    assert TokenGrant(type="clientCredentials", token_url=TOKEN, audience="pets").audience == "pets"


@pytest.mark.parametrize("method", ["GET", "PROPFIND", "A", "Z"])
def test_a_method_is_a_word_in_capitals(method: str) -> None:
    assert RestBinding(method=method, base_url="http://a", path="/").method == method
    for wrong in ("", method.lower(), f"{method} ", f"{method}\n", f"{method}1", f"x{method}"):
        with pytest.raises(ValidationError, match="method"):
            RestBinding(method=wrong, base_url="http://a", path="/")


@pytest.mark.parametrize("url", ["http://a", "https://pets.example/v2", "https://[::1]:8/x", "https://h/A@b"])
def test_a_base_url_has_a_scheme_a_host_and_a_path_at_most(url: str) -> None:
    assert RestBinding(method="GET", base_url=url, path="/").base_url == url
    for wrong in (
        "",
        "/v2",
        "pets.example",
        f"ftp://{url}",
        f"{url}?x=1",
        f"{url}#x",
        f" {url}",
        "https:///v2",
        "https://?",
    ):
        with pytest.raises(ValidationError, match="base_url"):
            RestBinding(method="GET", base_url=wrong, path="/")


def only(kind: type[BaseModel], choices: dict[str, Any], fixed: dict[str, Any], chosen: set[str]) -> bool:
    try:
        made = kind.model_validate({**fixed, **{name: choices[name] for name in chosen}})
    except ValidationError as refused:
        assert f"set exactly one of {', '.join(list(choices)[:-1])} and {list(choices)[-1]}" in str(refused)
        return False
    return isinstance(made, kind)


@given(st.sets(st.sampled_from(["text", "blob"])))
def test_written_contents_have_exactly_one_form(chosen: set[str]) -> None:
    choices = {"text": "", "blob": ""}
    assert only(StaticResource, choices, {"uri": "memo://ant"}, chosen) == (len(chosen) == 1)


@given(st.sets(st.sampled_from(["text", "image", "resource"])))
def test_a_written_message_has_exactly_one_form(chosen: set[str]) -> None:
    choices = {
        "text": "",
        "image": StaticImage(data="", mime_type="image/png"),
        "resource": StaticResource(uri="memo://ant", text=""),
    }
    assert only(StaticMessage, choices, {"role": "user"}, chosen) == (len(chosen) == 1)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"kind": "rest", "method": "GET", "base_url": "http://a", "path": "/"}, RestBinding),
        ({"kind": "local", "function": "f"}, LocalBinding),
        ({"kind": "static"}, StaticBinding),
        ({"kind": "page"}, PageBinding),
    ],
)
def test_the_kind_says_which_binding_it_is(fields: dict[str, Any], kind: type[BaseModel]) -> None:
    binding: Any = TypeAdapter[Binding](AnyBinding).validate_python(fields)
    assert type(binding) is kind
    with pytest.raises(ValidationError, match=f"kind: expected one of .*{fields['kind']}"):
        TypeAdapter[Binding](AnyBinding).validate_python({**fields, "kind": "no-such"})
    with pytest.raises(ValidationError, match="kind: expected one of"):
        TypeAdapter[Binding](AnyBinding).validate_python(
            {name: value for name, value in fields.items() if name != "kind"}
        )


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("", True), ("AAAA", True), ("+/8=", True), *((text, False) for text in ("A", "AA A", "AA\n==", "ä", "-_8="))],
)
def test_base64_is_padded_and_has_nothing_else_in_it(text: str, is_one: bool) -> None:
    assert is_base64(text) is is_one
    for kind, field in ((StaticResource, {"uri": "a:b", "blob": text}), (StaticImage, {"mime_type": "", "data": text})):
        if is_one:
            assert kind.model_validate(field)
        else:
            with pytest.raises(ValidationError, match=r"Value error, not base64 \(RFC 4648 section 4\) "):
                kind.model_validate(field)
