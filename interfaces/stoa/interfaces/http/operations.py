"""For operators: liveness, readiness with reasons, and metrics. They tell nothing about tenants or their tools beyond
counts and file names, and need no token, because orchestrators have none."""

from collections.abc import Callable, Sequence

import pydantic_core
from quart import Blueprint, Response

from stoa.application.ports.health import HealthProbe


def operations_blueprint(probes: Sequence[HealthProbe], metrics: Callable[[], bytes], version: str) -> Blueprint:
    """`/health`, `/live`, `/ready`, `/metrics`."""
    routes = Blueprint("operations", __name__)

    @routes.get("/health")
    async def health() -> Response:
        return _json({"status": "ok", "version": version})

    @routes.get("/live")
    async def live() -> Response:
        return _json({"status": "ok"})

    @routes.get("/ready")
    async def ready() -> Response:
        found = {probe.name: probe.health() for probe in probes}
        is_ready = all(health.is_ready for health in found.values())
        parts = {
            name: {"ready": health.is_ready, "detail": health.detail, "findings": list(health.findings)}
            for name, health in found.items()
        }
        return _json({"status": "ready" if is_ready else "not ready", "parts": parts}, 200 if is_ready else 503)

    @routes.get("/metrics")
    async def scrape() -> Response:
        return Response(metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _json(value: object, status: int = 200) -> Response:
    return Response(pydantic_core.to_json(value), status, content_type="application/json")
