"""Endpoints for operators: liveness, readiness and metrics.

Orchestrators have no token, so these endpoints need none, and without one they show states and counts only. Details and
findings name tenants, tools, files and URLs, so `/ready` shows them to platform admins only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pydantic_core
from quart import Blueprint, Response, request

from stoa.application.admission.callers import Callers
from stoa.application.admission.strangers import Strangers
from stoa.application.ports.health import Health, HealthProbe
from stoa.domain.errors import StoaError
from stoa.interfaces.rest.exchange import caller_credential


def operations_blueprint(
    probes: Sequence[HealthProbe],
    metrics: Callable[[], bytes],
    version: str,
    callers: Callers,
    strangers: Strangers,
    address_of: Callable[[Any], str | None] = lambda _: None,
) -> Blueprint:
    """`/health`, `/live`, `/ready`, `/metrics`. `callers` authenticates platform admins; `strangers` limits how many
    tokens are verified for that."""
    routes = Blueprint("operations", __name__)

    @routes.get("/health")
    async def health() -> Response:
        return _json({"status": "ok", "version": version})

    @routes.get("/live")
    async def live() -> Response:
        return _json({"status": "ok"})

    @routes.get("/ready")
    async def ready() -> Response:
        healths = {probe.name: probe.health() for probe in probes}
        is_ready = all(health.is_ready for health in healths.values())
        has_details = await _is_platform_admin(callers, strangers, address_of(request.scope))
        parts = {name: _part(health, has_details=has_details) for name, health in healths.items()}
        return _json({"status": "ready" if is_ready else "not ready", "parts": parts}, 200 if is_ready else 503)

    @routes.get("/metrics")
    async def scrape() -> Response:
        return Response(metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


async def _is_platform_admin(callers: Callers, strangers: Strangers, address: str | None) -> bool:
    """True for a platform admin. Never raises: a probe is answered even if its credential is invalid or cannot be
    verified now."""
    credential = caller_credential()
    if credential is None or strangers.wait_us(address, credential):
        return False
    try:
        return (await callers.authenticate(credential)).is_platform_admin
    except StoaError as refusal:
        strangers.spend(address, refusal)
        return False


def _part(health: Health, *, has_details: bool) -> dict[str, object]:
    if has_details:
        return {"ready": health.is_ready, "detail": health.detail, "findings": list(health.findings)}
    return {"ready": health.is_ready, "findingCount": len(health.findings)}


def _json(value: object, status: int = 200) -> Response:
    return Response(pydantic_core.to_json(value), status, content_type="application/json")
