"""Session ids that carry what the handshake agreed on, so that a session outlives the process that began it.

Many clients of the handshake era do not initialise again when their session is gone: after a restart they would fail
for good (docs/decisions/0043). The id is bound to the identity that began the session and to the endpoint; it proves
nothing, for every request is authenticated. What was changed later (log level, watched resources) is not in it.
"""

import hashlib
from dataclasses import fields

import pydantic_core

from stoa.application.ports.clock import Clock
from stoa.domain.access.identity import Principal
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.interfaces.mcp.wire.seal import BrokenSeal, Seal
from stoa.interfaces.wire.revisions import HANDSHAKE_REVISIONS

LIFETIME_SECONDS = 7 * 86_400
"""An id begins no session anew when its handshake is older. A session that the store still has goes on at any age."""

_PURPOSE = b"stoa mcp session v1"
_CAPABILITIES = tuple(sorted(field.name for field in fields(ClientCapabilities)))


class SealedSessionIds:
    """Makes and reads session ids. `secret`: at least 32 random bytes, kept over restarts. `audience`: the URL of this
    endpoint."""

    def __init__(self, secret: bytes, clock: Clock, audience: str) -> None:
        self._seal = Seal(secret, _PURPOSE, "s1.")
        self._clock = clock
        self._audience = audience

    def new_id(self, caller: Principal, revision: str, capabilities: ClientCapabilities) -> str:
        """Some 120 visible ASCII characters (2025-11-25, "Session Management")."""
        can = [name for name in _CAPABILITIES if getattr(capabilities, name)]
        expires = int(self._clock.now().timestamp()) + LIFETIME_SECONDS
        return self._seal.close(pydantic_core.to_json([expires, revision, can]), self._binding(caller))

    def session(self, session_id: str, caller: Principal) -> Session | None:
        """The session as it began. None: it is not the caller's, too old, or nothing that was sealed here."""
        try:
            expires, revision, can = pydantic_core.from_json(self._seal.open(session_id, self._binding(caller)))
        except BrokenSeal:
            return None
        if expires <= self._clock.now().timestamp() or revision not in HANDSHAKE_REVISIONS:
            return None
        capabilities = ClientCapabilities(**{name: name in can for name in _CAPABILITIES})
        return Session(
            session_id,
            caller.identity_key,
            revision,
            capabilities,
            hears_only=caller.tenant,
            hears_all=caller.is_platform_admin,
        )

    def _binding(self, caller: Principal) -> bytes:
        return hashlib.sha256(pydantic_core.to_json([self._audience, caller.identity_key])).digest()
