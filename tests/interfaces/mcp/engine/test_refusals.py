"""Challenges and limits as MCP clients see them in each era."""

from datetime import timedelta
from typing import Any

import pytest
from tests.interfaces.doors import METADATA_URL, PRINCIPALS, STATELESS_REVISIONS, World, new_world

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.token_verifier import TokenVerifier
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import IdentityUnavailable, LimiterUnavailable
from stoa.testing.clock import ManualClock

ERAS = pytest.mark.parametrize("version", ["2025-11-25", STATELESS_REVISIONS])
CALL = {"name": "add", "arguments": {"a": 1}}


async def _ask(world: World, version: str, method: str, params: Any = None, **rest: Any) -> Any:
    if version == STATELESS_REVISIONS:
        return await world.modern(method, params, **rest)
    return await world.legacy(method, params, **rest)


@ERAS
@pytest.mark.parametrize("method", ["tools/list", "tools/call", "initialize", "ping", "server/discover", "no/such"])
async def test_without_a_token_the_challenge_names_no_error(world: World, version: str, method: str) -> None:
    answer = await _ask(world, version, method, dict(CALL), token=None)
    assert answer.status == 401
    assert answer.header("www-authenticate") == f'Bearer resource_metadata="{METADATA_URL}", scope="stoa:read"'
    assert answer.header("content-type") == "application/json"
    assert answer.json()["error"]["data"] == {"code": "not_authenticated"}
    assert answer.json()["id"] == 1  # a client that shares one connection among its requests knows which was refused


@ERAS
async def test_a_token_that_proves_nothing_is_an_invalid_token(world: World, version: str) -> None:
    answer = await _ask(world, version, "tools/call", CALL, token="forged")
    assert answer.status == 401
    assert answer.header("www-authenticate") == (
        'Bearer error="invalid_token", error_description="The token is not known", '
        f'resource_metadata="{METADATA_URL}", scope="stoa:read"'
    )
    await world.gateway.flush_refusals()
    assert [(event.status.value, event.user_id) for event in world.events] == [("unauthorized", "-")]


@ERAS
async def test_an_expired_token_is_an_invalid_token(version: str) -> None:
    soon = ManualClock().now() + timedelta(seconds=60)
    world = new_world(principals={"t": Principal.of("x", roles=["viewer"], expires_at=soon)})
    assert (await _ask(world, version, "tools/call", CALL, token="t")).status == 200
    world.clock.advance(60)
    late = await _ask(world, version, "tools/call", CALL, token="t")
    assert late.status == 401
    assert 'error="invalid_token", error_description="The token has expired"' in (late.header("www-authenticate") or "")


@pytest.mark.parametrize("authorization", ["Basic dXNlcjpwdw==", "Bearer", "Bearer  ", "alpha-admin", ""])
async def test_another_scheme_is_no_token_at_all(world: World, authorization: str) -> None:
    answer = await world.legacy("ping", token=None, headers={"authorization": authorization})
    assert answer.status == 401
    assert "error=" not in (answer.header("www-authenticate") or "")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_the_case_of_the_scheme_does_not_matter(world: World, scheme: str) -> None:
    answer = await world.legacy("ping", token=None, headers={"authorization": f"{scheme} alpha-admin"})
    assert answer.status == 200


async def test_a_token_in_the_url_is_no_token(world: World) -> None:
    assert (await world.legacy("ping", token=None, query="?access_token=alpha-admin")).status == 401


@ERAS
@pytest.mark.parametrize(
    ("name", "token", "scopes"),
    [
        ("note", "alpha-reading", "stoa:read stoa:write"),
        ("wipe", "root-reading", "stoa:admin stoa:read"),
    ],
)
async def test_scopes_that_the_callers_roles_give_and_its_token_lacks_are_a_403_that_names_them(
    world: World, version: str, name: str, token: str, scopes: str
) -> None:
    answer = await _ask(world, version, "tools/call", {"name": name, "arguments": {}}, token=token, request_id="s")
    needed = "stoa:admin" if name == "wipe" else scopes.split()[-1]
    assert answer.status == 403
    assert answer.header("www-authenticate") == (
        f'Bearer error="insufficient_scope", error_description="needs scope {needed}", '
        f'resource_metadata="{METADATA_URL}", scope="{scopes}"'
    )
    assert (answer.json()["id"], answer.json()["error"]["code"]) == ("s", 4030)
    assert [event.status.value for event in world.events] == ["unauthorized"]


@ERAS
@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("note", "alpha-viewer"),
        ("wipe", "alpha-viewer"),
        ("wipe", "alpha-admin"),
        ("wipe", "alpha-reading"),
        ("add", "roleless"),
    ],
)
async def test_scopes_that_no_role_of_the_caller_gives_are_a_plain_403(
    world: World, version: str, name: str, token: str
) -> None:
    answer = await _ask(world, version, "tools/call", {"name": name, "arguments": {}}, token=token, request_id="s")
    assert (answer.status, answer.header("www-authenticate")) == (403, None)
    assert (answer.json()["id"], answer.json()["error"]["code"]) == ("s", 4030)


async def test_what_the_transport_refuses_is_told_to_authenticated_callers_only(world: World) -> None:
    for headers in ({"content-type": "text/plain"}, {"accept": "image/png"}, {"content-length": "99999999"}):
        assert (await world.post(b"{", headers=headers, token=None)).status == 401


async def test_a_used_up_limit_is_429_in_the_stateless_era() -> None:
    method = "tools/call"
    world = new_world(caller_limits={"tenant-admin": RateLimit(requests_per_minute=6, burst=1)})
    assert (await world.modern(method, CALL)).status == 200
    world.clock.advance(2.5)
    answer = await world.modern(method, CALL, request_id="q")
    assert (answer.status, answer.header("retry-after")) == (429, "8")
    assert answer.json()["id"] == "q"
    assert answer.json()["error"]["code"] == 4290
    assert answer.json()["error"]["data"] == {
        "code": "rate_limited",
        "retryAfterSeconds": 7.5,
        "limitName": "caller",
        "limit": {"requestsPerMinute": 6, "burst": 1},
        "remaining": 0,
        "resetSeconds": 7.5,
    }
    world.clock.advance(7.5)
    assert (await world.modern(method, CALL)).status == 200


@pytest.mark.parametrize(("method", "admitted", "wait"), [("tools/list", 5, 2.0), ("tools/call", 1, 10.0)])
async def test_a_used_up_limit_is_a_json_rpc_error_in_the_handshake_era(
    method: str, admitted: int, wait: float
) -> None:
    world = new_world(caller_limits={"tenant-admin": RateLimit(requests_per_minute=6, burst=1)})
    for _ in range(admitted):
        assert "result" in (await world.legacy(method, CALL)).json()
    answer = await world.legacy(method, CALL)
    assert answer.status == 200
    assert answer.json()["error"]["code"] == 4290
    assert answer.json()["error"]["data"]["retryAfterSeconds"] == wait


async def test_the_limit_of_a_tool_is_its_own(world: World) -> None:
    answers = [await world.modern("tools/call", {"name": name}) for name in ("rare", "rare", "table")]
    assert [answer.status for answer in answers] == [200, 429, 200]
    assert answers[1].header("retry-after") == "60"
    assert [event.status.value for event in world.events] == ["success", "rate_limited", "success"]


class _NoVerifier(TokenVerifier):
    def recognise(self, token: str) -> None:
        return None

    issuers = ()

    async def verify(self, token: str) -> Principal:
        raise IdentityUnavailable("Tokens cannot be verified at the moment")


class _NoLimiter(RateLimiter):
    def refusal(self, claims: Any) -> Any:
        return None

    async def take(self, claims: Any) -> Any:
        raise LimiterUnavailable("Limits cannot be checked at the moment")

    async def peek(self, claims: Any) -> Any:
        raise LimiterUnavailable("counting is not possible")


@ERAS
async def test_an_identity_provider_that_is_away_is_503(version: str) -> None:
    answer = await _ask(new_world(verifier=_NoVerifier()), version, "tools/call", CALL)
    assert (answer.status, answer.json()["error"]["code"]) == (503, 5030)
    assert answer.header("www-authenticate") is None


@ERAS
async def test_a_governing_part_that_is_away_refuses_the_call(version: str) -> None:
    for world in (new_world(limiter=_NoLimiter()), new_world(sink=_full())):
        answer = await _ask(world, version, "tools/call", CALL)
        assert (answer.status, answer.json()["error"]["code"]) == (200, 5030)


def _full() -> InMemoryMeteringSink:
    sink = InMemoryMeteringSink(1)
    sink.reserve()
    return sink


async def test_an_anonymous_caller_is_served_where_the_gateway_is_open() -> None:
    world = new_world(anonymous=PRINCIPALS["beta-viewer"])
    assert (await world.modern("tools/call", {"name": "private"}, token=None)).status == 200
    assert (await world.modern("tools/call", {"name": "private"}, token="forged")).status == 401
