"""Verifies signed JWTs: every rule that is independent of the source of the keys.

Above it are the doors and the InvokeOperation use case; below it a KeyProvider and joserfc's signature algorithms.
Its own
parser (`compact_jws`) and claim rules (`claims`) decide the rest, because every failure has to end in one kind of
error with words that are safe to show.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, cast

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.ports import Clock, TokenVerifier
from stoa.domain.access.identity import Principal
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import InvalidInput, NotAuthenticated
from stoa.infrastructure.oidc.claims import ClaimMapping, Claims, client_of, numeric_date, principal_of
from stoa.infrastructure.oidc.compact_jws import MAX_TOKEN_LENGTH, TOO_LONG, parse
from stoa.infrastructure.oidc.introspection import Introspection
from stoa.infrastructure.oidc.keys import ALGORITHMS, KeyProvider, is_usable
from stoa.infrastructure.oidc.kinds import is_access_token

CLOCK_SKEW = timedelta(seconds=30)
"""Upper bound on how far the issuer's clock may run ahead of ours (nbf, iat). An expiry is never extended."""
CACHE_TIME = timedelta(seconds=60)
"""Upper bound on how long a token stays valid after its revocation or that of its signing key."""

_LATEST_TOKENS = 64
"""Tokens whose digests are kept: a connection shows the same object at each request, so that its hash is known too."""
_KEYCLOAK = ClaimMapping()
_ACCEPTED_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})


class JwtTokenVerifier(TokenVerifier):
    """Accepts the access tokens of one issuer for any of `audiences`; with `introspection`, only active ones.
    `client_id_is_audience`: a token of Amazon Cognito, which has no `aud`, is meant for the client that it names.

    A verified token is cached by its digest, so that its next use costs a hash, a look-up and a comparison.
    """

    def __init__(
        self,
        *,
        keys: KeyProvider,
        issuer: str,
        audiences: frozenset[str],
        clock: Clock,
        mapping: ClaimMapping = _KEYCLOAK,
        introspection: Introspection | None = None,
        client_id_is_audience: bool = False,
        cache_entries: int = 16_384,
    ) -> None:
        if not audiences:
            raise InvalidInput("No audience is configured, so no token can be accepted; set ALLOWED_AUDIENCES")
        if cache_entries < 1:
            raise InvalidInput("cache_entries of the token verifier must be at least 1")
        self._keys = keys
        self._issuer = issuer
        self._audiences = audiences
        self._clock = clock
        self._mapping = mapping
        self._introspection = introspection
        self._client_id_is_audience = client_id_is_audience
        self._cache: BoundedCache[bytes, tuple[Principal, datetime]] = BoundedCache(cache_entries)

    @property
    def issuers(self) -> tuple[str, ...]:
        return (self._issuer,)

    async def verify(self, token: str) -> Principal:
        if len(token) > MAX_TOKEN_LENGTH:  # before hashing, which takes time
            raise NotAuthenticated(TOO_LONG, reason=RefusalReason.OVERSIZED_TOKEN)
        if not token.isascii():  # a hash takes UTF-8
            raise _not_a_jwt()
        recognised = self.recognise(token)
        if recognised is not None:
            return recognised
        digest = _digest(token)
        self._cache.discard(digest)
        principal, valid_until = await self._verify_fully(token)
        self._remember(digest, principal, valid_until)
        return principal

    def recognise(self, token: str) -> Principal | None:
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            return None
        cached = self._cache.get(_digest(token))
        # Wall time, because `exp` is wall time: a monotonic clock stands still while a machine sleeps.
        return cached[0] if cached is not None and self._clock.now() < cached[1] else None

    async def _verify_fully(self, token: str) -> tuple[Principal, datetime]:
        jws = parse(token)
        if jws is None:
            raise _not_a_jwt()
        kid, alg = _check_header(jws.header)
        # The issuer comes before the key: a stranger's token must not make the provider look for a stranger's key.
        if jws.claims.get("iss") != self._issuer:
            raise NotAuthenticated("The token is from another issuer", reason=RefusalReason.WRONG_ISSUER)
        key = await self._keys.key_for(kid, alg)
        if key is None or not is_usable(key, alg):
            unknown = "The token is signed with a key that its issuer does not publish"
            raise NotAuthenticated(unknown, reason=RefusalReason.UNKNOWN_KEY)
        if not ALGORITHMS[alg].verify(jws.signing_input, jws.signature, key):
            raise NotAuthenticated("The token's signature is wrong", reason=RefusalReason.BAD_SIGNATURE)
        try:
            accepted = self._accept(jws.header, jws.claims)
            if self._introspection is not None:
                await self._introspection.check(token)
        except NotAuthenticated as refusal:
            refusal.client = client_of(jws.claims)
            raise
        return accepted

    def _accept(self, header: Claims, claims: Claims) -> tuple[Principal, datetime]:
        """Checks the claims of a token whose signature is valid; returns the caller and the expiry."""
        if not is_access_token(header, claims):
            other = "The token is not an access token; send that, no ID, refresh or logout token"
            raise NotAuthenticated(other, reason=RefusalReason.NOT_ACCESS_TOKEN)
        if not _names_one_of(self._audience_of(claims), self._audiences):
            raise NotAuthenticated("The token is for another audience", reason=RefusalReason.WRONG_AUDIENCE)
        principal = principal_of(claims, self._mapping)
        now = self._clock.now()
        if principal.expires_at is None or now >= principal.expires_at:
            raise NotAuthenticated("The token has expired", reason=RefusalReason.EXPIRED)
        for claim in ("nbf", "iat"):
            start = numeric_date(claims, claim)
            if start is not None and start > now + CLOCK_SKEW:
                early = f"The token is not valid yet ({claim})"
                raise NotAuthenticated(early, reason=RefusalReason.NOT_YET_VALID)
        return principal, min(principal.expires_at, now + CACHE_TIME)

    def _audience_of(self, claims: Claims) -> object:
        """The audience of a token. Amazon Cognito's access tokens have no `aud`; if so configured, their client
        replaces it."""
        if "aud" not in claims and self._client_id_is_audience and claims.get("token_use") == "access":
            return claims.get("client_id")
        return claims.get("aud")

    def _remember(self, digest: bytes, principal: Principal, valid_until: datetime) -> None:
        # No entry lives longer than CACHE_TIME: the oldest, which is evicted, is expired or the next to expire.
        self._cache.put(digest, (principal, valid_until))


@lru_cache(maxsize=_LATEST_TOKENS)
def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _not_a_jwt() -> NotAuthenticated:
    return NotAuthenticated("The token is not a signed JWT", reason=RefusalReason.MALFORMED_TOKEN)


def _check_header(header: dict[str, Any]) -> tuple[str, str]:
    """The key id and algorithm. Keys that the token itself carries or points to (jwk, jku, x5c, x5u) are never used."""
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        other = "The token is signed with an algorithm that is not accepted"
        raise NotAuthenticated(other, reason=RefusalReason.UNSUPPORTED_ALGORITHM)
    if not isinstance(kid, str) or not kid:
        raise NotAuthenticated("The token does not name its key (kid)", reason=RefusalReason.MALFORMED_TOKEN)
    if not isinstance(typ, str) or typ.lower() not in _ACCEPTED_TYPES:
        raise NotAuthenticated("The token is of another type (typ)", reason=RefusalReason.NOT_ACCESS_TOKEN)
    if "crit" in header or "cty" in header or "b64" in header:  # extensions, nested tokens, unencoded payloads
        raise NotAuthenticated(
            "The token uses an extension that is not understood", reason=RefusalReason.MALFORMED_TOKEN
        )
    return kid, alg


def _names_one_of(audience: object, accepted: frozenset[str]) -> bool:
    """True if `aud`, one string or an array of strings (RFC 7519 section 4.1.3), names an accepted audience."""
    if isinstance(audience, str):
        return audience in accepted
    if not isinstance(audience, list):
        return False
    entries = cast("list[object]", audience)
    return all(isinstance(entry, str) for entry in entries) and not accepted.isdisjoint(entries)
