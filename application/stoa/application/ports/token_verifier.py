"""Verifies bearer tokens, and issues tokens for development."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.access.identity import Principal


class TokenVerifier(Protocol):
    """Laws: a token is accepted only while signature, algorithm, issuer, audience and times all hold; equal tokens give
    equal principals until they expire. Neither the token nor its parts appear in an error.

    Raises NotAuthenticated, with a reason in words safe for the caller, or IdentityUnavailable.
    """

    @abstractmethod
    async def verify(self, token: str) -> Principal: ...

    @abstractmethod
    def recognise(self, token: str) -> Principal | None:
        """The principal of a token that was verified recently, so that `verify` would give it at hardly any cost; None:
        `verify` has to look. Never that of a token that `verify` would refuse as it is."""
        ...

    @property
    @abstractmethod
    def issuers(self) -> tuple[str, ...]:
        """Issuer identifiers (RFC 8414) whose tokens are accepted; RFC 9728 metadata lists them."""
        ...


class TokenIssuer(Protocol):
    """Makes tokens for development. Law: `verify(issue(...))` of the matching verifier yields the requested
    principal."""

    @abstractmethod
    def issue(self, *, subject: str, tenant: str | None, roles: frozenset[str], lifetime_seconds: int) -> str: ...

    @abstractmethod
    def key_set(self) -> dict[str, object]:
        """The public keys (RFC 7517 JWK Set)."""
        ...
