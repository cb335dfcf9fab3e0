"""Identity provider checks for `stoa doctor`: the provider is reachable, is the configured one, and announces what MCP
clients need to log in (OpenID Connect Discovery 1.0, RFC 8414, RFC 7591, RFC 7636)?"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import SecretStr

from stoa.application.ports.clock import Clock
from stoa.application.ports.token_verifier import TokenVerifier
from stoa.application.run_checks import CheckResult, Verdict
from stoa.domain.access.identity import ALL_SCOPES, SCOPE_READ, Principal
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import NotAuthenticated, StoaError
from stoa.domain.schema.json_value import JsonObject, is_array
from stoa.infrastructure.http_client.client import HttpAnswer
from stoa.infrastructure.http_client.fetch import NoAnswer
from stoa.infrastructure.oidc.back_channel import BackChannel
from stoa.infrastructure.oidc.claims import numeric_date
from stoa.infrastructure.oidc.compact_jws import parse
from stoa.infrastructure.oidc.jwt_verifier import CLOCK_SKEW
from stoa.infrastructure.oidc.keys import StaticKeys

_OWN = "token of the gateway's own client"
_WHERE = "mend the connection, or set KEYCLOAK_URL, KEYCLOAK_INTERNAL_URL or OIDC_ISSUER to where it is"
_WHICH = "set KEYCLOAK_URL and KEYCLOAK_REALM, or OIDC_ISSUER, as the provider calls itself, character for character"
_NOT_FOR_US = "it is for another audience than the gateway, so it shows no caller's claims"
_AUDIENCE = "a client that shall call needs an audience mapper for the gateway, or its audience in ALLOWED_AUDIENCES"
REALM = "deploy/keycloak/README.md describes a realm that fits"
Fetch = Callable[[str, Mapping[str, str] | None], Awaitable[HttpAnswer]]
"""GET, or POST of a form. Raises NoAnswer."""


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """Checks the provider whose issuer identifier is `issuer`. `client`: the gateway's own client, with its secret if
    it has one."""

    issuer: str
    fetch: Fetch
    clock: Clock
    verifier: TokenVerifier
    client_id: str
    client_secret: SecretStr | None = None
    back_channel: BackChannel | None = None
    scope_prefix: str = ""

    async def run(self) -> Sequence[CheckResult]:
        own = self._inward(self.issuer)
        url = f"{own.rstrip('/')}/.well-known/openid-configuration"
        try:
            answer = await self.fetch(url, None)
        except NoAnswer as problem:
            return [_fail("reachable", f"{url}: {problem}", _WHERE)]
        if answer.status != 200:
            reason = f"{url} answered {answer.status}"
            return [_fail("reachable", reason, _WHICH)]
        metadata = answer.json()
        if metadata.get("issuer") not in (self.issuer, own):
            announced = metadata.get("issuer")
            reason = f"it calls itself {announced}, the gateway calls it {self.issuer}"
            return [_fail("issuer", reason, _WHICH)]
        return [
            _ok("issuer", self.issuer),
            await self._keys(metadata),
            *_announced(metadata, self.scope_prefix),
            *await self._own_token(metadata, answer.date),
        ]

    def _inward(self, url: str) -> str:
        return url if self.back_channel is None else self.back_channel.of(url)

    def _clock(self, date: str | None, token: str | None = None) -> CheckResult:
        """Compares clocks by the `iat` of a token issued just now, else by the Date header, which Keycloak does not
        send."""
        now = self.clock.now()
        try:
            issued = None if token is None else _issued_at(token)
            skew = (issued or parsedate_to_datetime(date or "")) - now
        except (TypeError, ValueError):
            return CheckResult(Verdict.SKIP, "clock", "the provider does not tell its time")
        seconds = f"{skew / timedelta(seconds=1):+.0f} s"
        if abs(skew) > CLOCK_SKEW:
            return _fail("clock", f"the provider's clock differs by {seconds}", "synchronise both machines (NTP)")
        if abs(skew) > timedelta(seconds=5):
            return _warn("clock", f"the provider's clock differs by {seconds}", "synchronise both machines (NTP)")
        return _ok("clock", f"differs by {seconds}")

    async def _keys(self, metadata: JsonObject) -> CheckResult:
        url = str(metadata.get("jwks_uri", ""))
        if not url.startswith(("https://", "http://")):
            return _fail("keys", "the metadata has no jwks_uri", REALM)
        try:
            answer = await self.fetch(self._inward(url), None)
        except NoAnswer as problem:
            return _fail("keys", f"{url}: {problem}", "the gateway itself must reach this URL")
        usable = len(StaticKeys(answer.json()).names)
        if answer.status != 200 or not usable:
            reason = f"{url} has no key that may sign tokens here (status {answer.status})"
            return _fail("keys", reason, "let the realm sign with RS256, ES256 or EdDSA")
        return _ok("keys", f"{usable} usable")

    async def _own_token(self, metadata: JsonObject, date: str | None) -> Sequence[CheckResult]:
        """Verifies a token for the gateway's own client like any caller's, and checks the provider's clock."""
        if self.client_secret is None:
            reason = "KEYCLOAK_CLIENT_SECRET is not set, so no token can be asked for"
            return [self._clock(date), CheckResult(Verdict.SKIP, "client secret", reason)]
        scope = f"{self.scope_prefix}{SCOPE_READ}"
        is_offered = scope in _texts(metadata.get("scopes_supported"))
        endpoint = str(metadata.get("token_endpoint", ""))
        token = await self._request_token(endpoint, self.client_secret, {"scope": scope} if is_offered else {})
        if isinstance(token, CheckResult):
            return [self._clock(date), token]
        return [self._clock(date, token), _ok("client secret", "accepted"), await self._judged(token)]

    async def _request_token(self, endpoint: str, secret: SecretStr, more: Mapping[str, str]) -> str | CheckResult:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": secret.get_secret_value(),
            **more,
        }
        try:
            answer = await self.fetch(self._inward(endpoint), form)
        except NoAnswer as problem:
            return _fail("client secret", f"the token endpoint: {problem}", "mend the connection")
        token = answer.json().get("access_token")
        if answer.status != 200 or not isinstance(token, str):
            error = str(answer.json().get("error", ""))[:64]
            reason = f"the token endpoint answered {answer.status} {error}".rstrip()
            return _fail("client secret", reason, "check KEYCLOAK_CLIENT_SECRET; the client needs service accounts")
        return token

    async def _judged(self, token: str) -> CheckResult:
        try:
            principal = await self.verifier.verify(token)
        except NotAuthenticated as refused:
            if refused.refusal_reason is RefusalReason.WRONG_AUDIENCE:
                # As in the realm that ships, where it is no caller. A client whose token says this has the same remedy.
                return CheckResult(Verdict.SKIP, _OWN, _NOT_FOR_US, _AUDIENCE)
            return _warn(_OWN, f"would be refused: {refused.message}", REALM)
        except StoaError as refused:
            return _warn(_OWN, refused.message, "mend what is said")
        return _ok(_OWN, _described(principal))


def _announced(metadata: JsonObject, scope_prefix: str) -> Iterable[CheckResult]:
    offered = _texts(metadata.get("scopes_supported"))
    wanted = sorted(f"{scope_prefix}{scope}" for scope in ALL_SCOPES)
    missing = [scope for scope in wanted if scope not in offered]
    if missing:
        yield _fail(
            "scopes",
            f"it does not offer {', '.join(missing)}, so clients that ask for them get invalid_scope",
            f"make them client scopes of the realm; {REALM}",
        )
    else:
        yield _ok("scopes", ", ".join(wanted))
    if "S256" in _texts(metadata.get("code_challenge_methods_supported")):
        yield _ok("PKCE", "S256")
    else:
        yield _fail("PKCE", "it does not announce S256, so MCP clients do not begin to log in", REALM)
    if metadata.get("registration_endpoint"):
        yield _ok("dynamic registration", "announced; whether it lets clients in is the realm's policy")
    else:
        yield _warn(
            "dynamic registration",
            "it announces none, so clients need an id that was registered for them",
            "register a client for each, or allow registration",
        )
    for name in ("authorization_endpoint", "token_endpoint"):
        if not metadata.get(name):
            yield _fail(name, "the metadata has none", REALM)


def _issued_at(token: str) -> datetime | None:
    """The `iat` of a token, which is not verified."""
    jws = parse(token)
    try:
        return None if jws is None else numeric_date(jws.claims, "iat")
    except NotAuthenticated:
        return None


def _described(principal: Principal) -> str:
    roles = ", ".join(sorted(principal.roles)) or "none"
    return f"accepted; tenant {principal.tenant or 'none'}, roles {roles}"


def _texts(value: Any) -> frozenset[str]:
    return frozenset(text for text in value if isinstance(text, str)) if is_array(value) else frozenset()


def _ok(what: str, reason: str) -> CheckResult:
    return CheckResult(Verdict.OK, what, reason)


def _warn(what: str, reason: str, remedy: str) -> CheckResult:
    return CheckResult(Verdict.WARN, what, reason, remedy)


def _fail(what: str, reason: str, remedy: str) -> CheckResult:
    return CheckResult(Verdict.FAIL, what, reason, remedy)
