"""Runs before the web framework: authenticates a request's caller by its headers, then reads its body.

The framework would read every body, even a stranger's. Here the request's scope has each body whole, or the reason why
there is none.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Caller, Credential, token_of
from stoa.domain.errors import StoaError
from stoa.interfaces.http.guard import AsgiApp, Receive, Scope, Send
from stoa.interfaces.wire.bodies import (
    AUTHENTICATED_KEY,
    BODY_KEY,
    CALLER_KEY,
    REFUSED_KEY,
    Bodies,
    BodyIncomplete,
    Share,
    closing,
    declared_length,
    read_small,
)
from stoa.interfaces.wire.credentials import credential_of

Authenticate = Callable[[Scope, Credential], Awaitable[Principal]]
"""Authenticates a request's caller by its headers. Raises StoaError."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class RestBodies:
    """Wraps an ASGI application whose bodies are read within `bodies`."""

    def __init__(self, app: AsgiApp, authenticate: Authenticate, bodies: Bodies) -> None:
        self._app = app
        self._authenticate = authenticate
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = declared_length(scope["headers"]) if scope["type"] == "http" else 0
        if declared == 0 and scope.get("method") not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        credential = credential_of(_field(scope, b"authorization"))
        try:
            caller = await self._authenticate(scope, credential)
        except StoaError as refusal:
            scope[AUTHENTICATED_KEY] = refusal.without_traceback()
            is_read = await read_small(declared, receive) is not None
            await self._app(scope, _only(), send if is_read else closing(send))
            return
        scope[AUTHENTICATED_KEY] = Caller(caller, token_of(credential))
        scope[CALLER_KEY] = (caller.tenant, caller.authorization_key)
        share = Share(self._bodies, caller)
        try:
            await self._with_body(share, declared, scope, receive, send)
        finally:
            share.release()

    async def _with_body(self, share: Share, declared: int | None, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope[BODY_KEY] = await share.read_coded(declared, receive, _field(scope, b"content-encoding") or "")
        except BodyIncomplete:
            return
        except StoaError as refusal:
            scope[REFUSED_KEY] = refusal.without_traceback()
            await self._app(scope, _only(), closing(send))
            return
        await self._app(scope, _only(receive), send)


def _field(scope: Scope, field_name: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == field_name), None)


def _only(receive: Receive | None = None) -> Receive:
    """A `receive` that returns an empty body, then the client's disconnect; without `receive` it never returns the
    latter, because that would read a body that must not be read."""
    is_given = False

    async def give() -> MutableMapping[str, Any]:
        nonlocal is_given
        if not is_given:
            is_given = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while receive is not None:
            message = await receive()
            if message["type"] != "http.request":
                return message
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return give
