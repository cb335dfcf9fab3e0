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
    def knows(self, token: str) -> bool:
        """True if this token was verified recently, so that `verify` accepts it at hardly any cost. Never true of a
        token that `verify` would refuse as it is."""
        ...

    def recognise(self, token: str) -> Principal | None:  # noqa: ARG002  # for adapters that keep what they verified
        """What `verify` would give, at once, for a token that was verified recently; None: ask `verify`. An adapter
        that verifies at no cost has no use for it."""
        return None

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
