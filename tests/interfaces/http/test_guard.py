"""Who may talk to the HTTP door at all."""

from typing import Any

import pytest
from tests.interfaces.doors import Answer, World, send

from stoa.interfaces.http.guard import Guard
from stoa.interfaces.settings import Settings

PATHS = pytest.mark.parametrize("path", ["/mcp", "/mcp/v1/tools"])


async def _get(world: World, path: str, **headers: str) -> Answer:
    pairs = {name.replace("_", "-"): value for name, value in headers.items()}
    return await send(world.app, "GET", path, headers={"authorization": "Bearer alpha-admin", **pairs})


@PATHS
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1:1",
        "[::1]:80",
        "[::1]",
        "gw.example",
        "a.gw.example:443",
        "named.example",
    ],
)
async def test_a_configured_host_is_served(world: World, path: str, host: str) -> None:
    assert (await _get(world, path, host=host)).status in {200, 405}


@PATHS
@pytest.mark.parametrize(
    "host", ["evil.example", "gw.example.evil", "evilgw.example", "sub.named.example", "[::2]", "", "localhost.evil"]
)
async def test_any_other_host_is_misdirected(world: World, path: str, host: str) -> None:
    for _ in range(2):  # the second answer comes from memory
        assert (await _get(world, path, host=host)).status == 421


async def test_probes_are_answered_by_address(world: World) -> None:
    for path in ("/health", "/live", "/metrics"):
        assert (await _get(world, path, host="10.1.2.3:8080")).status == 200


@PATHS
@pytest.mark.parametrize(
    "origin", ["https://app.example", "http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"]
)
async def test_an_allowed_origin_is_served_and_may_read_the_answer(world: World, path: str, origin: str) -> None:
    answer = await _get(world, path, origin=origin)
    assert answer.status in {200, 405}
    assert answer.header("access-control-allow-origin") == origin
    assert "www-authenticate" in (answer.header("access-control-expose-headers") or "")
    assert answer.header("vary") == "Origin"


@PATHS
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example:444",
        "null",
        "",
        "http://localhost.evil",
        "file://",
    ],
)
async def test_any_other_origin_is_forbidden(world: World, path: str, origin: str) -> None:
    answer = await _get(world, path, origin=origin)
    assert (answer.status, answer.header("access-control-allow-origin")) == (403, None)


async def test_a_caller_without_origin_is_served(world: World) -> None:
    answer = await _get(world, "/mcp/v1/tools")
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, None)


async def _preflight(world: World, origin: str, requested: str) -> Answer:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": requested,
    }
    return await send(world.app, "OPTIONS", "/mcp", headers=headers)


async def test_a_preflight_allows_what_mcp_clients_send(world: World) -> None:
    answer = await _preflight(world, "https://app.example", "authorization, Mcp-Param-Region, x-evil")
    assert answer.status == 204
    allowed = {name.strip() for name in (answer.header("access-control-allow-headers") or "").split(",")}
    assert {
        "authorization", "content-type", "accept", "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name",
        "last-event-id", "mcp-param-region",
    } <= allowed  # fmt: skip
    assert "x-evil" not in allowed
    assert "POST" in (answer.header("access-control-allow-methods") or "")
    assert answer.header("access-control-allow-origin") == "https://app.example"


async def test_a_preflight_of_another_origin_is_forbidden(world: World) -> None:
    assert (await _preflight(world, "https://evil.example", "authorization")).status == 403


async def test_a_lifespan_is_passed_through(world: World) -> None:
    messages: list[Any] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def emit(message: Any) -> None:
        sent.append(message["type"])

    await world.app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, emit)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("gw.example", None, 200),
        ("GW.example:443", "https://gw.example", 200),
        ("more.example", "https://app.example", 200),
        ("localhost", None, 421),
        ("127.0.0.1:8080", None, 421),
        ("x.gostoa.dev", None, 421),
        ("gw.example.evil", None, 421),
        ("gw.example", "http://gw.example", 403),
        ("gw.example", "https://gw.example:8443", 403),
        ("gw.example", "https://more.example", 403),
        ("gw.example", "http://localhost:3000", 403),
        ("gw.example", "null", 403),
    ],
)
async def test_public_url_is_the_one_host_and_origin_beside_those_that_are_named(
    host: str, origin: str | None, status: int
) -> None:
    settings = Settings(
        public_url="https://gw.example:443/", allowed_hosts=("more.example",), cors_origins=("https://app.example",)
    )

    async def served(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(served, hosts=settings.hosts, origins=settings.origins)
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    assert (await send(guard, "POST", "/mcp", headers=headers)).status == status
