"""Access tokens that the gateway shows to back ends: its own (client credentials), or in the caller's name (exchange).

`UpstreamTokens.prepare` checks a tool at its registration and returns a function, which binds each call to its token;
the TokenCache keeps the tokens. The caller's token goes to its own issuer and nowhere else: the author of a manifest
must not be able to collect tokens by naming a token endpoint of their own.
"""

from collections.abc import Callable, Sequence
from functools import partial

from stoa.application.backends.token_cache import MAX_TOKENS, TokenCache, TokenKey, digest
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.clock import Clock
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.token_endpoint import TokenEndpoint, TokenRequest
from stoa.application.ports.upstream_access import UpstreamAccess
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.errors import InvalidInput, UpstreamAccessDenied
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Authentication, SecretReference

BindUpstream = Callable[[Principal, BearerToken | None], UpstreamAccess]
"""Access for one call of a caller. The token is what the caller was verified from; None: a program vouches for it.
Raises UpstreamAccessDenied when the tool acts in the caller's name and there is no token of its issuer to show."""

_MakeRequest = Callable[[str | None, BearerToken | None], tuple[TokenKey, TokenRequest]]
"""Makes a token request in the name of the caller with this authorization key and token; with None and None, in the
gateway's own name."""
_ReadRequest = Callable[[], tuple[TokenKey, TokenRequest]]
"""Reads the client's secret, as it is now. Raises BackendUnavailable."""


class UpstreamTokens:
    """The tokens of all tools. `issuers`: whose tokens may be exchanged, each below its own issuer's URL."""

    def __init__(
        self,
        endpoint: TokenEndpoint,
        credentials: CredentialSource,
        clock: Clock,
        *,
        issuers: Sequence[str] = (),
        max_tokens: int = MAX_TOKENS,
        report: ReportDefect = log_defect,
    ) -> None:
        self._credentials = credentials
        self._issuers = tuple(issuers)
        self._cache = TokenCache(endpoint, clock, max_tokens=max_tokens, report=report)

    def prepare(self, tool: Operation) -> BindUpstream:
        """Raises InvalidInput when the tool's authentication cannot work."""
        grant = tool.authentication.grant
        request = self._requests(tool.authentication, tool.tenant)
        if grant is None or request is None:
            raise InvalidInput("authentication.type oauth2 needs authentication.grant and authentication.secret")
        if grant.type == "tokenExchange" and not any(_is_below(grant.token_url, issuer) for issuer in self._issuers):
            known = ", ".join(self._issuers) or "none: this gateway verifies no tokens"
            raise InvalidInput(
                "authentication.tokenUrl: a caller's token is shown to its own issuer only; write a URL below one of "
                f"the gateway's issuers ({known})"
            )
        name, cache = str(tool.key), self._cache

        def bind(principal: Principal, token: BearerToken | None) -> UpstreamAccess:
            if grant.type == "clientCredentials":
                return _CachedAccess(cache, partial(request, None, None))
            if token is None:
                raise UpstreamAccessDenied(
                    f"{name} acts in the caller's name at its back end: call it with a bearer token of your own"
                )
            if not _is_below(grant.token_url, principal.issuer):
                raise UpstreamAccessDenied(f"{name} acts in the name of callers whose token is from another issuer")
            return _CachedAccess(cache, partial(request, principal.authorization_key, token))

        return bind

    def own_access(self, authentication: Authentication, tenant: TenantId | None) -> UpstreamAccess | None:
        """Access in the gateway's own name, for a request that no call causes, such as that for an API description.
        None: the authentication is not oauth2 with client credentials. `tenant`: whose secret it names."""
        request = self._requests(authentication, tenant)
        if request is None or authentication.grant is None or authentication.grant.type != "clientCredentials":
            return None
        return _CachedAccess(self._cache, partial(request, None, None))

    def _requests(self, authentication: Authentication, tenant: TenantId | None) -> _MakeRequest | None:
        """None: the authentication is not oauth2."""
        grant, entry, read = authentication.grant, authentication.secret, self._credentials.read
        if grant is None or entry is None:
            return None
        secret = SecretReference(name=entry.name)

        def request(principal: str | None, subject: BearerToken | None) -> tuple[TokenKey, TokenRequest]:
            client_id, client_secret = read(tenant, secret, "clientId"), read(tenant, secret, "clientSecret")
            key = TokenKey(grant, tenant, principal, digest(client_id, client_secret))
            return key, TokenRequest(grant.token_url, client_id, client_secret, grant.audience, grant.scopes, subject)

        return request

    async def close(self) -> None:
        await self._cache.close()


class _CachedAccess(UpstreamAccess):
    __slots__ = ("_cache", "_key", "_request")

    def __init__(self, cache: TokenCache, request: _ReadRequest) -> None:
        self._cache = cache
        self._request = request
        self._key: TokenKey | None = None
        """Key of the token that was returned last; the secret may be rotated before the next one."""

    async def token(self) -> str:
        key, request = self._request()
        token = await self._cache.get(key, request)
        self._key = key
        return token

    def refused(self, token: str) -> bool:
        return self._key is None or self._cache.refused(self._key, token)


def _is_below(url: str, issuer: str) -> bool:
    return url.startswith(f"{issuer.rstrip('/')}/")
