"""Public metadata: what a client needs before it has a token."""

from typing import Any

import pydantic_core
from quart import Blueprint, Response

from stoa.application.ports.token_verifier import TokenIssuer
from stoa.interfaces.challenge import ProtectedResource


def metadata_blueprint(resource: ProtectedResource | None, issuer: TokenIssuer | None) -> Blueprint:
    """RFC 9728 metadata at both paths, unless authentication is off (its presence makes clients start OAuth), and the
    dev issuer's keys where there is one."""
    routes = Blueprint("metadata", __name__)

    if resource is not None:

        @routes.get("/.well-known/oauth-protected-resource")
        @routes.get("/.well-known/oauth-protected-resource/mcp")
        async def protected_resource() -> Response:
            return _public(resource.metadata())

    if issuer is not None:

        @routes.get("/dev-issuer/jwks")
        async def keys() -> Response:
            return _public(issuer.key_set())

    return routes


def _public(document: Any) -> Response:
    headers = {"Cache-Control": "max-age=300"}
    return Response(pydantic_core.to_json(document), headers=headers, content_type="application/json")
