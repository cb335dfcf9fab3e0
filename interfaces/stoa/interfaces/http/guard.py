"""The outermost layer of the HTTP door: checks Host and Origin, and answers CORS.

Protects a local gateway from web pages that the user happens to have open (DNS rebinding; MCP "Security Warning").
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from stoa.domain.access.refusal_reason import RefusalReason

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_PROBES = frozenset({"/health", "/live", "/ready", "/metrics"})
_PUBLIC = ("/.well-known/", "/dev-issuer/")
"""Path prefixes of public documents; a client in any web page may read them before it has a token."""
_ALLOWED_HEADERS = (
    "authorization, content-type, accept, mcp-session-id, mcp-protocol-version, mcp-method, mcp-name, "
    "last-event-id, x-consumer-id, x-request-id"
)
_EXPOSED_HEADERS = b"mcp-session-id, www-authenticate, retry-after, x-request-id"


class Guard:
    """Wraps an ASGI application.

    `hosts`: names without port that the gateway is reached by; a leading dot allows every subdomain, `*` any name.
    `origins`: web origins that may call it; those on loopback may too when the gateway is served there by every name.
    `refused` is called with each refusal: reason, status and request.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        hosts: Sequence[str],
        origins: Sequence[str],
        refused: Callable[[RefusalReason, int, Scope], None] = lambda _, __, ___: None,
    ) -> None:
        self._app = app
        self._refused = refused
        self._hosts = tuple(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._is_local = frozenset(LOOPBACK_HOSTS) <= frozenset(self._hosts)
        self._is_host_known: dict[bytes, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = origin = None
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        # Orchestrators probe by address; probes tell nothing and change nothing.
        if scope["path"] not in _PROBES and not self.knows(host):
            self._refused(RefusalReason.HOST, 421, scope)
            await _refuse(send, 421, b"This host name is not served here; see ALLOWED_HOSTS")
            return
        if origin is None:
            await self._app(scope, receive, send)
            return
        if not self._allows(origin) and not scope["path"].startswith(_PUBLIC):
            self._refused(RefusalReason.ORIGIN, 403, scope)
            await _refuse(send, 403, b"This origin is not allowed; see CORS_ORIGINS")
            return
        if scope["method"] == "OPTIONS":
            await self._preflight(scope, origin, send)
            return
        await self._app(scope, receive, _with_cors(send, origin))

    def knows(self, host: bytes | None) -> bool:
        """True for a Host header that names this gateway."""
        if host is None:
            return False
        is_known = self._is_host_known.get(host)
        if is_known is None:
            name = _without_port(host.decode("latin-1").lower())
            is_known = any(
                allowed in {"*", name} or (allowed[:1] == "." and (name.endswith(allowed) or name == allowed[1:]))
                for allowed in self._hosts
            )
            if len(self._is_host_known) < 256:
                self._is_host_known[host] = is_known
        return is_known

    def _allows(self, origin: bytes) -> bool:
        text = origin.decode("latin-1")
        if text in self._origins:
            return True
        scheme, _, rest = text.partition("://")
        return scheme in {"http", "https"} and _without_port(rest) in LOOPBACK_HOSTS and self._is_local

    async def _preflight(self, scope: Scope, origin: bytes, send: Send) -> None:
        requested = next((v for n, v in scope["headers"] if n == b"access-control-request-headers"), b"").decode(
            "latin-1"
        )
        extra = [name.strip() for name in requested.lower().split(",") if name.strip().startswith("mcp-param-")]
        headers = [
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", ", ".join([_ALLOWED_HEADERS, *extra]).encode("latin-1")),
            (b"access-control-max-age", b"600"),
        ]
        await _with_cors(send, origin)({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _with_cors(send: Send, origin: bytes) -> Send:
    async def send_with_cors(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", ()),
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", _EXPOSED_HEADERS),
                (b"vary", b"Origin"),
            ]
        await send(message)

    return send_with_cors


async def _refuse(send: Send, status: int, text: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
