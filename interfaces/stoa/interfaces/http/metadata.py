"""Public metadata that a client needs before it has a token."""

from typing import Any

import pydantic_core

from stoa.application.ports.token_verifier import TokenIssuer
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.endpoints import Endpoints, HttpAnswer, HttpRequest

_NO_LOGIN = pydantic_core.to_json(  # RFC 7591 section 3.2.2
    {
        "error": "access_denied",
        "error_description": "This gateway runs with the development issuer, where nobody logs in: make a token with "
        "'stoa token' and configure the client to send the header 'Authorization: Bearer TOKEN'",
    }
)


def metadata_blueprint(resource: ProtectedResource | None, issuer: TokenIssuer | None) -> Endpoints:
    """RFC 9728 metadata at both paths, unless authentication is off (its presence makes clients start OAuth), and the
    dev issuer's keys if there is one.

    MCP clients without an announced authorization server register at the gateway itself, as in MCP 2025-03-26, and show
    their user the response: with the dev issuer it explains what to do instead.
    """
    routes = Endpoints("metadata")

    if resource is not None:
        path = "/.well-known/oauth-protected-resource"

        @routes.on("GET", path, f"{path}/mcp", f"{path}/mcp/")
        async def protected_resource(_: HttpRequest) -> HttpAnswer:
            return _public(resource.metadata())

    if issuer is not None:

        @routes.on("GET", "/dev-issuer/jwks")
        async def keys(_: HttpRequest) -> HttpAnswer:
            return _public(issuer.key_set())

        @routes.on("POST", "/register")
        async def register(_: HttpRequest) -> HttpAnswer:
            return HttpAnswer(_NO_LOGIN, 403)

    return routes


def _public(document: Any) -> HttpAnswer:
    headers = {"Cache-Control": "max-age=300"}
    return HttpAnswer(pydantic_core.to_json(document), headers=headers)
