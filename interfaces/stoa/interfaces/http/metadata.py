"""Public metadata that a client needs before it has a token."""

from typing import Any

import pydantic_core
from quart import Blueprint, Response

from stoa.application.ports.token_verifier import TokenIssuer
from stoa.interfaces.wire.challenge import ProtectedResource

_NO_LOGIN = pydantic_core.to_json(  # RFC 7591 section 3.2.2
    {
        "error": "access_denied",
        "error_description": "This gateway runs with the development issuer, where nobody logs in: make a token with "
        "'stoa token' and configure the client to send the header 'Authorization: Bearer TOKEN'",
    }
)


def metadata_blueprint(resource: ProtectedResource | None, issuer: TokenIssuer | None) -> Blueprint:
    """RFC 9728 metadata at both paths, unless authentication is off (its presence makes clients start OAuth), and the
    dev issuer's keys if there is one.

    MCP clients without an announced authorization server register at the gateway itself, as in MCP 2025-03-26, and show
    their user the response: with the dev issuer it explains what to do instead.
    """
    routes = Blueprint("metadata", __name__)

    if resource is not None:

        @routes.get("/.well-known/oauth-protected-resource")
        @routes.get("/.well-known/oauth-protected-resource/mcp")
        @routes.get("/.well-known/oauth-protected-resource/mcp/")
        async def protected_resource() -> Response:
            return _public(resource.metadata())

    if issuer is not None:

        @routes.get("/dev-issuer/jwks")
        async def keys() -> Response:
            return _public(issuer.key_set())

        @routes.post("/register")
        async def register() -> Response:
            return Response(_NO_LOGIN, 403, content_type="application/json")

    return routes


def _public(document: Any) -> Response:
    headers = {"Cache-Control": "max-age=300"}
    return Response(pydantic_core.to_json(document), headers=headers, content_type="application/json")
