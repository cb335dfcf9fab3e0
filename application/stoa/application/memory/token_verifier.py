"""Tokens that the embedding program, or a test, hands out itself: opaque strings with a known Principal."""

from collections.abc import Mapping

from stoa.application.ports import Clock, TokenVerifier
from stoa.domain.access.identity import Principal
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import NotAuthenticated


class InMemoryTokenVerifier(TokenVerifier):
    """Knows a fixed set of tokens. A principal's own `expires_at` ends its token; None: never."""

    def __init__(self, principals: Mapping[str, Principal], clock: Clock) -> None:
        self._principals = dict(principals)
        self._clock = clock

    async def verify(self, token: str) -> Principal:
        principal = self._principals.get(token)
        if principal is None:
            raise NotAuthenticated("The token is not known")
        if principal.expires_at is not None and self._clock.now() >= principal.expires_at:
            raise NotAuthenticated("The token has expired", reason=RefusalReason.EXPIRED)
        return principal

    def recognise(self, token: str) -> Principal | None:
        principal = self._principals.get(token)
        is_over = (
            principal is not None and principal.expires_at is not None and self._clock.now() >= principal.expires_at
        )
        return None if is_over else principal

    @property
    def issuers(self) -> tuple[str, ...]:
        return tuple(sorted({principal.issuer for principal in self._principals.values()}))
