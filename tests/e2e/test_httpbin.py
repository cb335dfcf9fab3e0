"""httpbin as a real upstream: its own API description becomes tools, and what it echoes is what was sent."""

import base64
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.e2e.manifests import tool, tool_set, write
from tests.e2e.processes import GatewayProcess, serving
from tests.e2e.wire import HANDSHAKE, STATELESS, WireClient, wire_client

OPERATIONS = 78
SECRETS = {
    "STOA_SECRET__GLOBAL__BIN_LOGIN__USERNAME": "upstream-ada",
    "STOA_SECRET__GLOBAL__BIN_LOGIN__PASSWORD": "p:ss wörd",
    "STOA_SECRET__GLOBAL__BIN_TOKEN__TOKEN": "upstream-token-1",
    "STOA_SECRET__GLOBAL__BIN_KEY__APIKEY": "upstream-key-1",
}

Content = dict[str, Any]


@pytest.fixture(scope="module")
def httpbin() -> Iterator[str]:
    """Its URL."""
    program = str(Path(__file__).with_name("httpbin_server.py"))
    command = [sys.executable, "-W", "ignore", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, httpbin: str) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(tmp_path_factory.mktemp("httpbin"), SECRETS | {"RATE_LIMIT_ENABLED": "false"})
    spec = f"{httpbin}/spec.json"
    write(gateway, "httpbin.yaml", tool_set("httpbin", spec, httpbin))
    signed = {
        "basic": ("/basic-auth", {"type": "basic", "secretRef": {"name": "bin-login"}}),
        "bearer": ("/bearer", {"type": "bearer", "secretRef": {"name": "bin-token"}}),
        "keyed": ("/headers", {"type": "apiKey", "secretRef": {"name": "bin-key"}, "headerName": "X-Bin-Key"}),
        "keyless": ("/headers", {"type": "bearer", "secretRef": {"name": "nobody-has-it"}}),
    }
    for name, (prefix, authentication) in signed.items():
        selected = {"selector": {"pathPrefix": prefix}, "naming": {"prefix": f"{name}_"}}
        defaults = {"toolDefaults": {"authentication": authentication}}
        write(gateway, f"{name}.yaml", tool_set(f"httpbin-{name}", spec, httpbin, **selected, **defaults))
    hurried = {
        "selector": {"pathPrefix": "/delay"},
        "naming": {"prefix": "hurried_"},
        "toolDefaults": {"timeout": "300ms"},
    }
    write(gateway, "hurried.yaml", tool_set("httpbin-hurried", spec, httpbin, **hurried))
    write(gateway, "echo.yaml", *_echo_tools(httpbin))
    described = {"openAPISpec": {"inline": DESCRIPTION}, "naming": {"prefix": "described_"}}
    write(gateway, "described.yaml", tool_set("described", "", httpbin, **described))
    with serving(gateway):
        yield gateway


@pytest.fixture(params=[STATELESS, HANDSHAKE])
def client(request: pytest.FixtureRequest, gateway: GatewayProcess) -> Iterator[WireClient]:
    with wire_client(gateway.url, gateway.token("cpi-admin"), request.param) as client:
        yield client


def test_each_of_the_operations_is_a_tool_that_calls_it(gateway: GatewayProcess, httpbin: str) -> None:
    assert gateway.ready()["catalogue"]["ready"]
    assert [finding for finding in gateway.ready()["catalogue"]["findings"] if finding.startswith("error")] == []
    sent: set[str] = set()
    answers = 0
    with wire_client(gateway.url, gateway.token("cpi-admin")) as client:
        of_httpbin = [tool for tool in client.tools() if re.match(r"(get|post|put|patch|delete|trace)_", tool["name"])]
        assert len(of_httpbin) == OPERATIONS
        for listed in of_httpbin:
            arguments = _arguments(listed, httpbin)
            result = client.call(listed["name"], **arguments)
            _assert_sane(listed["name"], arguments, result)
            sent.add(listed["name"])
            answers += not result.get("isError", False)
    assert answers > OPERATIONS - 16
    assert sent <= {event.tool for event in gateway.events()}


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_arguments_arrive_in_path_query_and_body(client: WireClient, httpbin: str, method: str) -> None:
    word, text = "ä /?&=# \U0001f40d", "a+b & c %25"
    echoed = client.call(f"echo-{method}", word=word, text=text, number=3, flag=True)["structuredContent"]
    assert echoed["method"] == method.upper()
    place, _, _ = echoed["url"].partition("?fixed=yes")
    assert unquote(place) == f"{httpbin}/anything/{word}"
    if method in {"get", "delete"}:
        assert echoed["args"] == {"fixed": "yes", "text": text, "number": "3", "flag": "true"}
        assert echoed["data"] == ""
    else:
        assert echoed["args"] == {"fixed": "yes"}
        assert echoed["json"] == {"text": text, "number": 3, "flag": True}
        assert echoed["headers"]["Content-Type"] == "application/json"


def test_the_path_cannot_be_left(client: WireClient, httpbin: str) -> None:
    for word in ("..", "../../get", "%2e%2e/get", ".", "a/../../get"):
        result = client.call("echo-get", word=word)
        if not result.get("isError"):
            assert result["structuredContent"]["method"] == "GET"  # only /anything tells the method
            assert result["structuredContent"]["url"].startswith(f"{httpbin}/anything/")


def test_lists_objects_headers_cookies_and_forms_arrive_as_the_description_says(client: WireClient) -> None:
    arguments = {"ids": [1, 2], "filter": {"a": "b"}, "X-Trace": "t-1", "theme": "dark & light"}
    got = client.call("described_parameters", **arguments)["structuredContent"]
    assert got["args"] == {"ids": "1,2", "filter[a]": "b"}
    assert got["headers"]["X-Trace"] == "t-1"
    assert got["headers"]["Cookie"].startswith("theme=dark")

    form = client.call("described_form", name="Ada & Co", tags=["x", "y"])["structuredContent"]
    assert form["form"] == {"name": "Ada & Co", "tags": ["x", "y"]}
    assert form["headers"]["Content-Type"].startswith("application/x-www-form-urlencoded")


def test_credentials_of_the_tool_are_sent_and_those_of_the_caller_never(
    client: WireClient, gateway: GatewayProcess
) -> None:
    ada = {"user": "upstream-ada", "passwd": "p:ss wörd"}
    assert client.call("basic_get_basic_auth_user_passwd", **ada)["structuredContent"] == {
        "authenticated": True,
        "user": "upstream-ada",
    }
    refused = client.call("basic_get_basic_auth_user_passwd", **(ada | {"user": "bob"}))
    assert refused["isError"]
    assert refused["content"][0]["text"].startswith("401")

    bearer = client.call("bearer_get_bearer")["structuredContent"]
    assert bearer == {"authenticated": True, "token": "upstream-token-1"}

    keyed = client.call("keyed_get_headers")["structuredContent"]["headers"]
    assert keyed["X-Bin-Key"] == "upstream-key-1"
    assert "Authorization" not in keyed

    keyless = client.call("keyless_get_headers")
    assert keyless["isError"]
    assert "nobody-has-it" in keyless["content"][0]["text"]
    assert not any(secret in gateway.log for secret in SECRETS.values())


@pytest.mark.parametrize(
    ("code", "reason"), [(400, "BAD REQUEST"), (404, "NOT FOUND"), (418, "I'M A TEAPOT"), (503, "SERVICE UNAVAILABLE")]
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_a_refusing_status_is_an_error_result_with_status_and_body(
    client: WireClient, method: str, code: int, reason: str
) -> None:
    result = client.call(f"{method}_status_codes", codes=code)
    assert result["isError"]
    assert "structuredContent" not in result
    text = result["content"][0]["text"]
    assert text.splitlines()[0] == f"{code} {reason}"
    assert ("teapot" in text) == (code == 418)


def test_a_status_without_a_body_is_shown_in_its_place(client: WireClient) -> None:
    for code, shown in ((200, "200 OK"), (204, "204 NO CONTENT")):
        result = client.call("put_status_codes", codes=code)
        assert not result.get("isError")
        assert result["content"] == [{"type": "text", "text": shown}]


@pytest.mark.parametrize("kind", ["redirect", "relative_redirect", "absolute_redirect"])
def test_redirects_below_the_base_url_are_followed_a_few_times(client: WireClient, httpbin: str, kind: str) -> None:
    followed = client.call(f"get_{kind}_n", n=3)
    assert followed["structuredContent"]["url"] == f"{httpbin}/get"
    endless = client.call(f"get_{kind}_n", n=9)
    assert endless["isError"]
    assert "redirects" in endless["content"][0]["text"]


def test_redirects_to_other_hosts_and_of_changing_calls_are_reported_not_followed(
    client: WireClient, httpbin: str, gateway: GatewayProcess
) -> None:
    elsewhere = client.call("get_redirect_to", url=f"{gateway.url}/health")
    changing = client.call("post_redirect_to", url=f"{httpbin}/get", status_code=307)
    for result in (elsewhere, changing):
        assert result["isError"]
        assert "was not followed" in result["content"][0]["text"]
    assert client.call("get_redirect_to", url="/get", status_code=308)["structuredContent"]["url"] == f"{httpbin}/get"


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_pictures_are_image_content(client: WireClient, kind: str, magic: bytes) -> None:
    (block,) = client.call(f"get_image_{kind}")["content"]
    assert (block["type"], block["mimeType"]) == ("image", f"image/{kind}")
    assert base64.b64decode(block["data"]).startswith(magic)


def test_text_of_every_kind_is_text_and_other_bytes_are_an_embedded_resource(client: WireClient) -> None:
    assert "<svg" in client.call("get_image_svg")["content"][0]["text"]
    assert client.call("get_xml")["content"][0]["text"].startswith("<?xml")
    assert "Herman Melville" in client.call("get_html")["content"][0]["text"]
    assert "∮ E⋅da = Q" in client.call("get_encoding_utf8")["content"][0]["text"]
    (block,) = client.call("get_bytes_n", n=4096)["content"]
    assert block["type"] == "resource"
    assert len(base64.b64decode(block["resource"]["blob"])) == 4096


def test_compressed_streamed_and_slow_answers_are_read_to_the_end(client: WireClient) -> None:
    assert client.call("get_gzip")["structuredContent"]["gzipped"] is True
    assert client.call("get_deflate")["structuredContent"]["deflated"] is True
    lines = client.call("get_stream_n", n=20)["content"][0]["text"].splitlines()
    assert len(lines) == 20
    dripped = client.call("get_drip", duration=0.3, numbytes=30, delay=0.1, code=200)
    assert dripped["content"] == [{"type": "text", "text": "*" * 30}]
    assert client.call("get_range_numbytes", numbytes=27)["content"][0]["text"] == "abcdefghijklmnopqrstuvwxyza"


def test_an_answer_that_is_late_is_an_error_result_at_the_deadline(client: WireClient, gateway: GatewayProcess) -> None:
    began = time.monotonic()
    result = client.call("hurried_get_delay_delay", "too-late", delay=5)
    assert time.monotonic() - began < 3
    assert result["isError"]
    assert result["content"][0]["text"] == "No answer within 0.3 s [backend_timeout]"
    assert {event.status for event in gateway.events() if event.request_id == "too-late"} == {"timeout"}


def test_one_callers_cookies_are_not_kept_for_the_next(client: WireClient) -> None:
    client.call("get_cookies_set_name_value", name="session", value="of-somebody")
    assert client.call("get_cookies")["structuredContent"] == {"cookies": {}}


_ARGUMENTS: dict[str, Any] = {
    "codes": 200,
    "freeform": {"a": "1"},
    "delay": 0,
    "duration": 0,
    "qop": "auth",
}
_REFUSALS = {
    r"(delete|put|post|patch|trace)_redirect_to": "302 FOUND",
    "get_bearer": "401 UNAUTHORIZED",
    "get_(basic|digest)_auth_.*": "401 UNAUTHORIZED",
    "get_hidden_basic_auth_.*": "404 NOT FOUND",
}
"""What httpbin answers where it wants a credential or sends elsewhere."""
_EXOTIC = {
    "get_brotli",  # sends what was not asked for
    "get_image",  # does not know */*
}
_BY_TYPE = {"integer": 1, "number": 1, "string": "stoa"}


def _arguments(listed: Content, httpbin: str) -> Content:
    """From the tool's own schema: what is required, and what is known to matter."""
    chosen = _ARGUMENTS | {"url": f"{httpbin}/get", "status_code": 302}
    schema = listed["inputSchema"]
    return {
        name: chosen.get(name, about.get("default", _BY_TYPE.get(about.get("type"))))
        for name, about in schema.get("properties", {}).items()
        if name in chosen or name in schema.get("required", ())
    }


def _assert_sane(name: str, arguments: Content, result: Content) -> None:
    context = (name, arguments, result)
    refusal = next((text for pattern, text in _REFUSALS.items() if re.fullmatch(pattern, name)), None)
    assert result["content"], context
    if name in _EXOTIC:
        return
    assert result.get("isError", False) == (refusal is not None), context
    if refusal is not None:
        assert result["content"][0]["text"].startswith(refusal), context
        return
    echo = result.get("structuredContent", {})
    method, _, path = name.partition("_")
    if "method" in echo:
        assert echo["method"] == method.upper(), context
    if "url" in echo and "redirect" not in name:
        assert path.split("_")[0] in echo["url"], context
        assert "stoa" not in arguments.values() or "stoa" in echo["url"], context


def _echo_tools(httpbin: str) -> Iterator[Content]:
    schema = {
        "type": "object",
        "required": ["word"],
        "additionalProperties": False,
        "properties": {
            "word": {"type": "string"},
            "text": {"type": "string"},
            "number": {"type": "integer"},
            "flag": {"type": "boolean"},
        },
    }
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        endpoint = f"{httpbin}/anything/{{word}}?fixed=yes"
        yield tool(f"echo-{method.lower()}", endpoint, method=method, inputSchema=schema)


_OK = {"responses": {"200": {"description": "ok"}}}
DESCRIPTION: Content = {
    "openapi": "3.1.0",
    "info": {"title": "anything", "version": "1"},
    "paths": {
        "/anything/parameters": {
            "get": {
                "operationId": "parameters",
                "parameters": [
                    {"name": "ids", "in": "query", "explode": False, "schema": {"type": "array"}},
                    {"name": "filter", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                    {"name": "theme", "in": "cookie", "schema": {"type": "string"}},
                ],
                **_OK,
            }
        },
        "/anything/form": {
            "post": {
                "operationId": "form",
                "requestBody": {
                    "content": {
                        "application/x-www-form-urlencoded": {
                            "schema": {
                                "type": "object",
                                "properties": {"name": {"type": "string"}, "tags": {"type": "array"}},
                            }
                        }
                    }
                },
                **_OK,
            }
        },
    },
}
