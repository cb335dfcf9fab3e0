"""Endpoints for operators: liveness, readiness and metrics.

Orchestrators have no token, so these endpoints need none, and without one they show states and counts only. Details and
findings name tenants, tools, files and URLs, so `/ready` shows them to platform admins only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pydantic_core

from stoa.application.admission.callers import Callers
from stoa.application.admission.strangers import Strangers
from stoa.application.ports.health import Health, HealthProbe
from stoa.domain.errors import StoaError
from stoa.interfaces.wire.endpoints import Endpoints, HttpAnswer, HttpRequest


def operations_blueprint(
    probes: Sequence[HealthProbe],
    metrics: Callable[[], bytes],
    version: str,
    callers: Callers,
    strangers: Strangers,
    address_of: Callable[[Any], str | None] = lambda _: None,
) -> Endpoints:
    """`/health`, `/live`, `/ready`, `/metrics`. `callers` authenticates platform admins; `strangers` limits how many
    tokens are verified for that."""
    routes = Endpoints("operations")

    @routes.on("GET", "/health")
    async def health(_: HttpRequest) -> HttpAnswer:
        return _json({"status": "ok", "version": version})

    @routes.on("GET", "/live")
    async def live(_: HttpRequest) -> HttpAnswer:
        return _json({"status": "ok"})

    @routes.on("GET", "/ready")
    async def ready(request: HttpRequest) -> HttpAnswer:
        healths = {probe.name: probe.health() for probe in probes}
        is_ready = all(health.is_ready for health in healths.values())
        has_details = await _is_platform_admin(request, callers, strangers, address_of(request.scope))
        parts = {name: _part(health, has_details=has_details) for name, health in healths.items()}
        return _json({"status": "ready" if is_ready else "not ready", "parts": parts}, 200 if is_ready else 503)

    @routes.on("GET", "/metrics")
    async def scrape(_: HttpRequest) -> HttpAnswer:
        return HttpAnswer(metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


async def _is_platform_admin(request: HttpRequest, callers: Callers, strangers: Strangers, address: str | None) -> bool:
    """True for a platform admin. Never raises: a probe is answered even if its credential is invalid or cannot be
    verified now."""
    credential = request.credential
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


def _json(value: object, status: int = 200) -> HttpAnswer:
    return HttpAnswer(pydantic_core.to_json(value), status)
