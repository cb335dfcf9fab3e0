"""Where requests end on real servers: never above the tool's base path, whatever an argument holds."""

import http.client
from collections.abc import Iterator

import pytest
from tests.infrastructure.rest.loopback import called, rest_backend, rest_tool
from tests.live.http_servers import Go, Java, Nginx, Node, Python
from tests.live.servers import LiveServer, running

from stoa.domain.errors import InvalidArguments

BASE = "/tenants/acme"
HOSTILE = [
    "..", "../../../admin/users", "../../beta/secret", "%2e%2e/%2e%2e/%2e%2e/admin", "%252e%252e%252fadmin",
    "x/../../../y", "..\\..\\..\\admin", "..;/..;/admin", "\uff0e\uff0e\uff0fadmin", "..%00/admin",
    "%c0%ae%c0%ae/admin", ".", "./../..",
]  # fmt: skip
HARMLESS = ["v1.2", "a..b", "...", ".hidden", "x/y", "100%", "a b", "//x", "ä.ö", "a?b#c", "%41", "a;b"]
PARAMETER = {"location": "path", "explode": True}


@pytest.fixture(scope="module", params=[Nginx, Node, Go, Java, Python], ids=lambda kind: str(kind.name))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(request.param, tmp_path_factory.mktemp(request.param.name)) as server:
        yield server


def test_path_servers_would_be_led_astray_by_encoded_dots(server):
    """Why encoding is not enough: what went out once reaches another area, or is sent there by a redirect."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", f"{BASE}/doc/%2E%2E%2F%2E%2E%2F%2E%2E%2Fadmin%2Fusers")
    answer = connection.getresponse()
    ended = answer.headers.get("Location") or answer.read().decode()
    connection.close()
    assert ended == "/admin/users"


@pytest.mark.parametrize("style", ["simple", "label", "matrix"])
@pytest.mark.parametrize("template", ["/doc/{a}", "/pre/.{a}/x", "/two/{a}{b}"])
async def test_path_stays_below_the_base_on_real_servers(server, template, style):
    names = [name for name in "ab" if f"{{{name}}}" in template]
    parameters = [{"argument": name, "name": name, "style": style, **PARAMETER} for name in names]
    tool = rest_tool(f"{server.url}{BASE}", path=template, parameters=parameters)
    async with rest_backend() as backend:
        for value in [*HOSTILE, *HARMLESS, ["", ""], ["", "..", "x"], {"": ".."}]:
            try:
                answer = await called(backend, tool, **dict.fromkeys(names, value))
            except InvalidArguments:
                continue
            if not answer.is_error:  # a redirect that is not followed is one, and what the server calls no path
                assert answer.body.decode().startswith(f"{BASE}/"), value


async def test_path_values_with_harmless_dots_arrive_on_real_servers(server):
    parameters = [{"argument": "a", "name": "a", "style": "simple", **PARAMETER}]
    tool = rest_tool(f"{server.url}{BASE}", path="/doc/{a}", parameters=parameters)
    async with rest_backend() as backend:
        for value in ("v1.2", "a..b", "...", ".hidden", "a b", "ä.ö"):
            answer = await called(backend, tool, a=value)
            assert answer.body.decode() == f"{BASE}/doc/{value}"
