"""Maps verified claims to a Principal: pure, and the only module that knows the claim names of providers.

Understands Keycloak's shape (realm_access, resource_access, azp, groups) and plain `roles` and `client_id`; for other
providers a ClaimMapping names the claims. A claim of the wrong type ends in NotAuthenticated, because guessing its
meaning could grant access.

A claim's name may be a path with dots. A flat name wins over a nested one: `https://acme.example/roles` is looked up as
it is, `realm_access.roles` in the object `realm_access` unless a claim has this very name.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from stoa.domain.access.identity import Principal, TenantId, TenantName, scopes_of, stoa_scopes
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import NotAuthenticated

Claims = Mapping[str, Any]

CLIENT_CLAIMS = ("azp", "client_id", "cid", "appid")
"""Claims that name the client of a token: of Keycloak and Entra ID, RFC 9068, Okta, and Entra ID's first version."""

_TENANT_NAME: TypeAdapter[TenantId] = TypeAdapter(TenantName)
_TENANT_GROUPS = "/tenants/"
_ABSENT, _BLOCKED = object(), object()
_LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
# Control characters would forge log lines and the separators of the principal's keys; lone surrogates have no UTF-8.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMapping:
    """Names of the claims that hold roles, tenant and scopes at this provider."""

    tenant_claim: str = "tenant_id"
    role_clients: frozenset[str] = frozenset()
    """Clients whose roles in `resource_access` count; roles of other clients are ignored."""
    roles_claims: tuple[str, ...] = ()
    """Claims with names of roles or groups: arrays, or one name as a string. Empty: `roles` and Keycloak's claims,
    arrays only."""
    role_names: Mapping[str, str] | None = None
    """Roles by the provider's names for them; other names are ignored. None: the provider uses the gateway's names."""
    scopes_claims: tuple[str, ...] = ("scope", "scp")
    scope_prefix: str = ""
    """Prefix of the gateway's scopes at this provider, as in `api://gateway/stoa:read`; scopes without it count too."""
    requires_scopes: bool = False
    """True: a token without any `stoa:*` scope grants nothing; False: it grants everything that its caller's roles
    grant."""


def principal_of(claims: Claims, mapping: ClaimMapping) -> Principal:
    """The caller that these claims describe. Raises NotAuthenticated if they do not describe one.

    Times are converted, not checked, because this function has no clock.
    """
    expires_at = numeric_date(claims, "exp")
    if expires_at is None:
        raise NotAuthenticated("The token has no expiry (exp)", reason=RefusalReason.MALFORMED_TOKEN)
    roles = _roles(claims, mapping)
    granted = _scopes(claims, mapping)
    limit = stoa_scopes(granted)
    return Principal(
        subject=_text(claims, "sub"),
        tenant=_tenant(claims, mapping.tenant_claim),
        roles=roles,
        token_scopes=limit if limit or mapping.requires_scopes else None,
        scopes=scopes_of(roles) | granted,  # Principal keeps the scopes that roles and token both grant
        client=next(filter(None, (_optional_text(claims, name) for name in CLIENT_CLAIMS)), None),
        issuer=_text(claims, "iss"),
        expires_at=expires_at,
    )


def client_of(claims: Claims) -> str | None:
    """The OAuth client that the token was issued to; None if it names none that can be shown."""
    names = (claims.get(name) for name in CLIENT_CLAIMS)
    return next((cast("str", name)[:128] for name in names if _is_text(name)), None)


def numeric_date(claims: Claims, name: str) -> datetime | None:
    """A NumericDate (RFC 7519 section 2) between 1970 and 9999; None if the claim is absent."""
    if name not in claims:
        return None
    seconds = claims[name]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LAST_SECOND:
        raise _malformed(name)
    return datetime.fromtimestamp(seconds, UTC)


def _roles(claims: Claims, mapping: ClaimMapping) -> frozenset[str]:
    roles: set[str] = set()
    for path in mapping.roles_claims or _keycloak_roles(mapping.role_clients):
        roles.update(_texts(claims, path, may_be_one=bool(mapping.roles_claims)))
    names = mapping.role_names
    return frozenset(roles if names is None else (names[role] for role in roles if role in names))


def _keycloak_roles(clients: frozenset[str]) -> Iterable[str]:
    return "roles", "realm_access.roles", *(f"resource_access.{client}.roles" for client in sorted(clients))


def _scopes(claims: Claims, mapping: ClaimMapping) -> frozenset[str]:
    """The scopes of all claims. `scope` is one string (RFC 8693 section 4.2), any other may be an array too."""
    written: list[str] = []
    for path in mapping.scopes_claims:
        value = _find(claims, path)
        if isinstance(value, list) and path != "scope":
            written += _texts(claims, path)
        else:
            written += (_optional_text(claims, path, may_be_empty=True) or "").split(" ")
    return frozenset(_ours(scope, mapping.scope_prefix) for scope in written if scope)


def _ours(scope: str, prefix: str) -> str:
    bare = scope.removeprefix(prefix)
    return bare if stoa_scopes([bare]) else scope


def _tenant(claims: Claims, claim: str) -> TenantId | None:
    """The tenant's own claim, else the one group `/tenants/<name>`. Several such groups name no tenant."""
    name = _optional_text(claims, claim)
    if name is None:
        groups = {group for group in _texts(claims, "groups") if group.startswith(_TENANT_GROUPS)}
        names = {group.removeprefix(_TENANT_GROUPS) for group in groups}
        if len(names) != 1:
            return None
        name = names.pop()
    if not _is_tenant_name(name):
        label = "The token's tenant is not a lower-case RFC 1123 label"
        raise NotAuthenticated(label, reason=RefusalReason.MALFORMED_TOKEN)
    return TenantId(name)


def _is_tenant_name(name: str) -> bool:
    try:
        _TENANT_NAME.validate_python(name)
    except ValidationError:  # its text quotes the claim, so it must not become the context of our error
        return False
    return True


def _find(claims: Claims, path: str) -> object:
    """The claim at `path`, or _ABSENT. Raises NotAuthenticated if a value on the path is not an object."""
    value = _walk(claims, path)
    if value is _BLOCKED:
        raise _malformed(path)
    return value


def _walk(claims: Claims, path: str) -> object:
    if path in claims:
        return claims[path]
    claim: object = _ABSENT
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):  # the longest name first, as the flat one comes before all
        inner = claims.get(".".join(parts[:end]), _ABSENT)
        if inner is _ABSENT:
            continue
        value = _walk(cast("dict[str, Any]", inner), ".".join(parts[end:])) if isinstance(inner, dict) else _BLOCKED
        if value is not _ABSENT and value is not _BLOCKED:
            return value
        claim = _BLOCKED if value is _BLOCKED else claim
    return claim


def _texts(claims: Claims, path: str, *, may_be_one: bool = False) -> list[str]:
    value = _find(claims, path)
    if value is _ABSENT:
        return []
    if may_be_one and _is_text(value):
        return [cast("str", value)]
    if not isinstance(value, list):
        raise _malformed(path)
    values = cast("list[object]", value)
    texts = [text for text in values if _is_text(text)]
    if len(texts) != len(values):
        raise _malformed(path)
    return cast("list[str]", texts)


def _text(claims: Claims, name: str) -> str:
    text = _optional_text(claims, name)
    if text is None:
        raise NotAuthenticated(f"The token has no {name}", reason=RefusalReason.MALFORMED_TOKEN)
    return text


def _optional_text(claims: Claims, path: str, *, may_be_empty: bool = False) -> str | None:
    value = _find(claims, path)
    if value is _ABSENT:
        return None
    if not (_is_text(value) or (may_be_empty and value == "")):
        raise _malformed(path)
    return cast("str", value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and not _UNSAFE.search(value)


def _malformed(path: str) -> NotAuthenticated:
    return NotAuthenticated(f"The token's claim {path} is malformed", reason=RefusalReason.MALFORMED_TOKEN)
