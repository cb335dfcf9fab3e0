"""What a tool's binding makes of arguments, and which bindings are refused at registration."""

from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.infrastructure.rest.loopback import rest_tool

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.infrastructure.rest.request_plan import RequestPlan, RestRequest

BASE = "https://api.test:8443/v1"


def parameter(name: str, location: str, **more: object) -> dict[str, object]:
    style = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}[location]
    return {
        "argument": name,
        "name": name,
        "location": location,
        "style": style,
        "explode": location == "query",
        **more,
    }


def plan(tool: Tool) -> RequestPlan:
    assert isinstance(tool.binding, RestBinding)
    return RequestPlan(tool, tool.binding, InMemoryCredentialSource())


def built(tool: Tool, /, **arguments: object) -> RestRequest:
    return plan(tool).build(arguments, "request-1")


PATHS = ["simple", "label", "matrix"]


@given(
    template=st.sampled_from(["/pets/{a}", "/pets/{a}/toys/{b}", "/{a}{b}/x", "/pets/{a}.{b}:activate"]),
    style=st.sampled_from(PATHS),
    explode=st.booleans(),
    first=st.text(min_size=1) | st.lists(st.text(min_size=1), min_size=1, max_size=3),
    second=st.text(min_size=1) | st.dictionaries(st.text(min_size=1), st.text(min_size=1), min_size=1, max_size=2),
)
@example("/pets/{a}/toys/{b}", "simple", False, "..", "../../admin?x=1#y")
@example("/pets/{a}", "simple", False, "a/b\\c%2F..", "x")
@example("/pets/{a}", "simple", False, "@evil.test:80/", "x")
def test_no_path_value_leaves_its_segment(template, style, explode, first, second):
    parameters = [parameter(name, "path", style=style, explode=explode) for name in "ab" if f"{{{name}}}" in template]
    try:
        request = built(rest_tool(BASE, path=template, parameters=parameters), a=first, b=second)
    except InvalidArguments as refused:
        assert {violation.path for violation in refused.violations} < {"/a", "/b"}
        return

    target = str(request.url).removeprefix("https://api.test:8443")
    assert request.url.host == "api.test"
    assert request.url.port == 8443
    assert request.url.raw_path_qs == target
    assert target.startswith("/v1/")
    assert target.count("/") == ("/v1" + template).count("/")
    assert not set(target) & set("?#\\ ")
    assert not {".", ".."} & set(target.split("/"))


@given(st.dictionaries(st.sampled_from(["q", "page", "x y&z"]), st.text()))
@example({"q": "a&page=2#x"})
def test_query_values_arrive_as_they_were_given(arguments):
    parameters = [parameter(name, "query") for name in ("q", "page", "x y&z")]
    request = built(rest_tool(BASE, parameters=parameters), **arguments)

    pairs = parse_qsl(request.url.raw_query_string, keep_blank_values=True, strict_parsing=bool(arguments))
    assert dict(pairs) == arguments
    assert len(pairs) == len(arguments)


def test_absent_and_null_arguments_are_left_out():
    parameters = [parameter(name, place) for name, place in [("a", "query"), ("b", "header"), ("c", "cookie")]]
    request = built(rest_tool(BASE, parameters=parameters), a=None, b=None)

    assert str(request.url) == f"{BASE}/pets"
    assert request.headers == {"Accept": "application/json, */*;q=0.8", "X-Request-ID": "request-1"}


def test_fixed_query_parameters_are_always_sent():
    tool = rest_tool(BASE, fixed_query=[("action", "list all")], parameters=[parameter("q", "query")])

    assert str(built(tool, q="x").url) == f"{BASE}/pets?action=list%20all&q=x"
    assert str(built(tool).url) == f"{BASE}/pets?action=list%20all"


def test_the_place_of_a_request_has_no_query():
    assert built(rest_tool(BASE, parameters=[parameter("q", "query")]), q="secret").place == f"{BASE}/pets"


def test_base_url_without_path_and_an_empty_path_go_to_the_root():
    assert built(rest_tool("http://api.test", path="")).url.raw_path_qs == "/"


def test_literal_text_of_the_path_is_encoded_and_its_fragment_dropped():
    assert str(built(rest_tool(BASE, path="/a b/100%/%2Fx#y")).url) == f"{BASE}/a%20b/100%25/%2Fx"


@pytest.mark.parametrize("value", ["", None, []])
def test_an_empty_path_value_is_an_invalid_argument_by_name(value):
    tool = rest_tool(BASE, path="/pets/{pet/id}", parameters=[parameter("pet/id", "path")])

    with pytest.raises(InvalidArguments) as caught:
        built(tool, **{"pet/id": value})
    assert [violation.path for violation in caught.value.violations] == ["/pet~1id"]


@pytest.mark.parametrize("place", ["path", "query", "header", "cookie"])
def test_half_a_surrogate_pair_is_an_invalid_argument(place):
    tool = rest_tool(
        BASE, path="/pets/{x}" if place == "path" else "/pets", parameters=[parameter("x", place, is_json=True)]
    )

    with pytest.raises(InvalidArguments, match="/x: valid Unicode"):
        built(tool, x="\ud800")


def test_a_line_break_in_a_header_is_an_invalid_argument():
    with pytest.raises(InvalidArguments, match="/X-Note"):
        built(rest_tool(BASE, parameters=[parameter("X-Note", "header")]), **{"X-Note": "a\r\nX-Admin: 1"})


def test_cookies_are_one_header():
    tool = rest_tool(BASE, parameters=[parameter("a", "cookie"), parameter("b", "cookie")])

    assert built(tool, a="1;x", b=2).headers["Cookie"] == "a=1%3Bx; b=2"


@pytest.mark.parametrize(
    "name", ["Authorization", "host", "CONTENT-LENGTH", "Transfer-Encoding", "Connection", "X-Key"]
)
def test_a_header_that_speaks_for_the_gateway_is_refused_by_name(name):
    key = {"type": "apiKey", "secret": {"name": "s"}, "parameter_name": "x-key"}
    tool = rest_tool(BASE, parameters=[parameter(name, "header")], tool={"authentication": key})

    with pytest.raises(InvalidInput, match=f"header parameter '{name}'"):
        plan(tool)


@pytest.mark.parametrize(
    ("location", "binding"),
    [
        ("query", {"parameters": [parameter("key", "query")]}),
        ("cookie", {"parameters": [parameter("key", "cookie")]}),
        ("cookie", {"parameters": [parameter("Cookie", "header")]}),
        ("query", {"parameters": [parameter("action", "query")], "fixed_query": [("action", "list")]}),
    ],
)
def test_a_parameter_in_the_place_of_a_credential_or_fixed_value_is_refused(location, binding):
    key = {"type": "apiKey", "secret": {"name": "s"}, "parameter_name": "key", "location": location}

    with pytest.raises(InvalidInput, match="is set by the gateway"):
        plan(rest_tool(BASE, tool={"authentication": key}, **binding))


def test_a_cookie_object_cannot_hold_the_credentials_name():
    key = {"type": "apiKey", "secret": {"name": "s"}, "parameter_name": "key", "location": "cookie"}
    tool = rest_tool(BASE, tool={"authentication": key}, parameters=[parameter("c", "cookie", explode=True)])

    with pytest.raises(InvalidArguments, match="no property named key"):
        plan(tool).build({"c": {"key": "forged"}}, "request-1", is_signed=False)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"base_url": "https://ann:pw@api.test"}, "user or password"),
        ({"base_url": "https://api.test:99999"}, "not an http"),
        ({"path": "/a/../b"}, "segment"),
        ({"path": "/a/%2e%2E/b"}, "segment"),
        ({"path": "/a/..;/b"}, "segment"),
        ({"base_url": "https://api.test/a/../b"}, "segment"),
        ({"path": "/a?b=c"}, "fixed_query"),
        ({"path": "/a/{id}"}, "disagree about id"),
        ({"parameters": [parameter("id", "path")]}, "disagree about id"),
        ({"parameters": [parameter("a b", "header")]}, "not a valid header name"),
        ({"body": {"media_type": "application/json"}}, "argument or fields"),
        ({"body": {"media_type": "message/http", "fields": {}}}, "message/http"),
        ({"accept": "a\r\nb"}, "binding.accept"),
        ({"tool": {"authentication": {"type": "bearer"}}}, "needs authentication.secret"),
        (
            {"tool": {"authentication": {"type": "apiKey", "secret": {"name": "s"}, "parameter_name": "a b"}}},
            "parameter_name",
        ),
    ],
)
def test_a_binding_that_cannot_work_is_refused_at_registration(change, problem):
    with pytest.raises(InvalidInput, match=problem) as caught:
        plan(rest_tool(**{"base_url": BASE, **change}))
    assert "pw" not in caught.value.message


def body_of(media_type: str, **body: object) -> Tool:
    return rest_tool(BASE, method="POST", body={"media_type": media_type, **body})


@pytest.mark.parametrize(
    ("tool", "arguments", "content_type", "data"),
    [
        (body_of("application/json", fields={"n": "name"}), {"n": "Ré"}, "application/json", '{"name":"Ré"}'.encode()),
        (body_of("application/json", fields={"n": "name"}), {"n": None}, "application/json", b'{"name":null}'),
        (body_of("application/json", argument="body"), {"body": [1, None]}, "application/json", b"[1,null]"),
        (body_of("application/json", argument="body"), {"body": None}, "application/json", b"null"),
        (
            body_of("application/merge-patch+json", fields={"n": "n"}),
            {"n": 1},
            "application/merge-patch+json",
            b'{"n":1}',
        ),
        (body_of("application/json", fields={"n": "n"}, required=True), {}, "application/json", b"{}"),
        (body_of("text/plain", argument="t"), {"t": "Grüße"}, "text/plain; charset=utf-8", "Grüße".encode()),
        (body_of("text/csv; charset=utf-8", argument="t"), {"t": "a,b"}, "text/csv; charset=utf-8", b"a,b"),
        (
            body_of("application/x-www-form-urlencoded", fields={"a": "a", "b": "b", "c": "c", "d": "d"}),
            {"a": "x&y", "b": [1, 2], "c": {"k": 1}, "d": None},
            "application/x-www-form-urlencoded",
            b"a=x%26y&b=1&b=2&c=%7B%22k%22%3A1%7D",
        ),
        (
            body_of("application/x-www-form-urlencoded", fields={"a": "a"}, form={"a": {"style": "deepObject"}}),
            {"a": {"k": [1]}},
            "application/x-www-form-urlencoded",
            b"a%5Bk%5D%5B0%5D=1",
        ),
        (
            body_of("application/x-www-form-urlencoded", fields={"a": "a"}, required=True),
            {},
            "application/x-www-form-urlencoded",
            b"",
        ),
    ],
)
def test_bodies_are_sent_in_the_declared_type(tool, arguments, content_type, data):
    request = built(tool, **arguments)

    assert (request.headers["Content-Type"], request.data) == (content_type, data)


def test_without_any_argument_of_an_optional_body_there_is_none():
    request = built(body_of("application/json", fields={"n": "name"}))

    assert request.data is None
    assert "Content-Type" not in request.headers


@given(st.dictionaries(st.text(), st.text()))
def test_form_fields_arrive_as_they_were_given(values):
    tool = body_of("application/x-www-form-urlencoded", fields={name: name for name in values}, required=True)

    data = built(tool, **values).data or b""

    assert [(unquote(k), unquote(v)) for k, _, v in (p.partition("=") for p in data.decode().split("&") if p)] == list(
        values.items()
    )
