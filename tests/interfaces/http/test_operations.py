"""Liveness, readiness and metrics, without a token."""

import pytest
from tests.interfaces.doors import World, send

from stoa.application.ports.health import Health


@pytest.mark.parametrize("path", ["/health", "/live"])
async def test_the_process_is_alive_before_anything_is_loaded(world: World, path: str) -> None:
    answer = await send(world.app, "GET", path)
    assert (answer.status, answer.json()["status"]) == (200, "ok")


async def test_the_gateway_is_ready_once_the_catalogue_is_loaded(world: World) -> None:
    early = await send(world.app, "GET", "/ready")
    assert early.status == 503
    assert early.json()["parts"]["catalogue"] == {"ready": False, "detail": "not loaded yet", "findings": []}
    await world.gateway.catalogue.execute()
    ready = await send(world.app, "GET", "/ready")
    assert (ready.status, ready.json()["status"]) == (200, "ready")
    assert set(ready.json()["parts"]) == {"catalogue", "policy", "part"}


async def test_findings_are_shown_and_do_not_make_the_gateway_unready(world: World) -> None:
    world.gateway._manifests.put("bad.yaml#1", {"kind": "Tool"})
    await world.gateway.catalogue.execute()
    answer = await send(world.app, "GET", "/ready")
    assert answer.status == 200
    (finding,) = answer.json()["parts"]["catalogue"]["findings"]
    assert finding.startswith("error: bad.yaml#1: ")


async def test_one_part_that_is_not_ready_makes_the_gateway_unready(world: World) -> None:
    await world.gateway.catalogue.execute()
    world.probe.now = Health(False, "the disk is full")
    answer = await send(world.app, "GET", "/ready")
    assert (answer.status, answer.json()["status"]) == (503, "not ready")
    assert answer.json()["parts"]["part"]["detail"] == "the disk is full"


async def test_metrics_come_in_the_text_format(world: World) -> None:
    answer = await send(world.app, "GET", "/metrics")
    assert (answer.status, answer.body) == (200, b"m 1\n")
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
