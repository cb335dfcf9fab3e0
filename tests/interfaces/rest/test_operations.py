"""Liveness, readiness and metrics, without a token."""

from typing import Any

import pytest
from tests.interfaces.doors import World, send

from stoa.application.ports.health import Health
from stoa.application.ports.token_verifier import TokenVerifier
from stoa.domain.access.identity import Principal
from stoa.domain.errors import IdentityUnavailable


@pytest.mark.parametrize("path", ["/health", "/live"])
async def test_the_process_is_alive_before_anything_is_loaded(world: World, path: str) -> None:
    answer = await send(world.app, "GET", path)
    assert (answer.status, answer.json()["status"]) == (200, "ok")


async def test_the_gateway_is_ready_once_the_catalogue_is_loaded(world: World) -> None:
    early = await send(world.app, "GET", "/ready")
    assert early.status == 503
    assert early.json()["parts"]["catalogue"] == {"ready": False, "findingCount": 0}
    await world.gateway.loader.execute()
    ready = await send(world.app, "GET", "/ready")
    assert (ready.status, ready.json()["status"]) == (200, "ready")
    assert set(ready.json()["parts"]) == {"catalogue", "policy", "part"}


async def _ready_parts(world: World, token: str | None) -> Any:
    answer = await world.request("GET", "/ready", token=token)
    return answer.status, answer.json()["parts"]


async def test_ready_shows_findings_to_platform_admins_and_stays_ready(world: World) -> None:
    world.gateway._manifests.put("bad.yaml#1", {"kind": "Tool"})
    await world.gateway.loader.execute()
    status, parts = await _ready_parts(world, "admin")
    assert status == 200
    (finding,) = parts["catalogue"]["findings"]
    assert finding.startswith("error: bad.yaml#1: ")


@pytest.mark.parametrize("token", [None, "alpha-admin", "alpha-viewer", "no-such-token"])
async def test_ready_shows_others_states_and_counts_only(world: World, token: str | None) -> None:
    world.gateway._manifests.put("bad.yaml#1", {"kind": "Tool"})
    await world.gateway.loader.execute()
    world.probe.now = Health(False, "https://inner.example/?key=secret", ("alpha's tool `pay` is broken",))
    answer = await world.request("GET", "/ready", token=token)
    assert (answer.status, answer.json()) == (
        503,
        {
            "status": "not ready",
            "parts": {
                "catalogue": {"ready": True, "findingCount": 1},
                "policy": {"ready": True, "findingCount": 0},
                "part": {"ready": False, "findingCount": 1},
            },
        },
    )


async def test_ready_is_answered_when_no_token_can_be_verified() -> None:
    world = World(verifier=Unreachable())
    await world.gateway.loader.execute()
    assert await _ready_parts(world, "admin") == await _ready_parts(world, None)


class Unreachable(TokenVerifier):
    @property
    def issuers(self) -> tuple[str, ...]:
        return ()

    def recognise(self, token: str) -> None:
        return None

    async def verify(self, token: str) -> Principal:
        raise IdentityUnavailable("The identity provider does not answer")


async def test_one_part_that_is_not_ready_makes_the_gateway_unready(world: World) -> None:
    await world.gateway.loader.execute()
    world.probe.now = Health(False, "the disk is full")
    status, parts = await _ready_parts(world, "admin")
    assert (status, parts["part"]["detail"]) == (503, "the disk is full")


async def test_metrics_come_in_the_text_format(world: World) -> None:
    answer = await send(world.app, "GET", "/metrics")
    assert (answer.status, answer.body) == (200, b"m 1\n")
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
