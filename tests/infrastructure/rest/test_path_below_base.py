"""No argument leads a tool's request out of its base path, whatever the server decodes, normalises or takes off."""

import posixpath
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.infrastructure.rest.loopback import rest_tool

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import InvalidArguments
from stoa.domain.operations.tool import RestBinding
from stoa.infrastructure.rest.request_plan import RequestPlan

BASE = "http://api.test/tenants/acme/v1"
TEMPLATES = [
    "/doc/{a}", "/pre/.{a}/x", "/pre/..{a}", "/two/{a}{b}/x", "/cmp/{a}..{b}", "/{a}/{b}/k", "/f/{a}.{b}", "/p/x%{a}",
    "/{a}.json", "/{a};v={b}/x",
]  # fmt: skip
PIECES = [
    ".", "..", "/", "\\", "%2e", "%2E", "%2f", "%5c", "%252e", "%252f", ";", "a", "\uff0e", "\u2025", "\uff0f",
    "%u002e", "%", "2e", "u002e", "?", "#", "%3f", "%00", " ", "admin", "%c0%ae", "@", ":", "=", ",", "", "\t", "%09",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
values = texts | st.lists(texts, min_size=1, max_size=3) | st.dictionaries(texts, texts, min_size=1, max_size=2)


def plan(template: str, style: str, *, explode: bool) -> RequestPlan:
    parameters = [
        {"argument": name, "name": name, "location": "path", "style": style, "explode": explode}
        for name in "ab"
        if f"{{{name}}}" in template
    ]
    tool = rest_tool(BASE, path=template, parameters=parameters)
    assert isinstance(tool.binding, RestBinding)
    return RequestPlan(tool, tool.binding, InMemoryCredentialSource())


def iis(path: str) -> str:
    return unquote(re.sub(r"%u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), path))


STEPS: list[Callable[[str], str]] = [
    unquote,
    iis,
    lambda path: path.replace("\\", "/"),
    lambda path: re.sub(r";[^/]*", "", path),
    lambda path: unicodedata.normalize("NFKC", path),
    lambda path: re.sub(r"[\t\r\n]", "", path),
    lambda path: path.partition("\x00")[0],
    lambda path: path.replace("%c0%ae", ".").replace("%C0%AE", "."),
]
"""What servers and the proxies before them do to a path before they resolve its dot segments, in any order."""


@settings(max_examples=2000)
@given(
    st.sampled_from(TEMPLATES),
    st.sampled_from(["simple", "label", "matrix"]),
    st.booleans(),
    values,
    values,
    st.lists(st.sampled_from(STEPS), max_size=6),
)
@example("/doc/{a}", "simple", False, "../../../admin/users", "x", [unquote])
@example("/two/{a}{b}/x", "label", True, ["", ""], ["", ".."], [])
@example("/pre/..{a}", "simple", False, "/admin", "x", [unquote])
@example("/two/{a}{b}/x", "simple", False, "%2", "e%2e%2fadmin", [unquote, unquote])
def test_path_below_base_stays_there_however_a_server_reads_it(template, style, explode, a, b, steps):
    try:
        request = plan(template, style, explode=explode).build({"a": a, "b": b}, "request-1")
    except InvalidArguments as refused:
        assert {violation.path for violation in refused.violations} <= {"/a", "/b"}
        return
    path = urlsplit(str(request.url)).path
    assert path.startswith("/tenants/acme/v1/")
    for step in steps:
        path = step(path)
    assert posixpath.normpath("/" + path.lstrip("/")).startswith("/tenants/acme/v1")


@pytest.mark.parametrize(
    ("template", "arguments", "pointer"),
    [
        ("/doc/{a}", {"a": "../../../admin/users"}, "/a"),
        ("/{a}/{b}/k", {"a": "x", "b": ".."}, "/b"),
        ("/pre/..{a}", {"a": "/admin"}, "/a"),
        ("/pre/.{a}/x", {"a": ";b"}, "/a"),
        ("/two/{a}{b}/x", {"a": "%2", "b": "e%2e"}, "/b"),
        ("/cmp/{a}..{b}", {"a": "/", "b": "/x"}, "/a"),
    ],
)
def test_path_below_base_a_refusal_points_to_the_argument_that_completes_the_dot_segment(template, arguments, pointer):
    with pytest.raises(InvalidArguments) as refused:
        plan(template, "simple", explode=False).build(arguments, "request-1")
    assert [violation.path for violation in refused.value.violations] == [pointer]
    assert "%2" not in str(refused.value)


@pytest.mark.parametrize(
    "value", ["v1.2", "a..b", "...", ".x", "x.", "a b", "a/b", "ä.ö", "100%", "x;y=1", "50%off", 1.5]
)
def test_path_below_base_ordinary_values_arrive_as_they_are(value):
    url = str(plan("/doc/{a}", "simple", explode=False).build({"a": value}, "request-1").url)
    assert unquote(url) == f"{BASE}/doc/{value}"
