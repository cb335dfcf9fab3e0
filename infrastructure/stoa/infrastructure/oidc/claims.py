"""From verified claims to a Principal: pure, and the only place that knows how providers name things.

Understands Keycloak's shape (realm_access, resource_access, azp, groups) and plain `roles` and `client_id`. A claim
that is read and has the wrong type ends in NotAuthenticated; guessing what it meant could grant something.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from stoa.domain.errors import NotAuthenticated
from stoa.domain.identity import Principal, TenantId, TenantName, scopes_of, stoa_scopes

Claims = Mapping[str, Any]

_TENANT_NAME: TypeAdapter[TenantId] = TypeAdapter(TenantName)
_TENANT_GROUPS = "/tenants/"
_LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
# Control characters would forge log lines and the separators of the principal's keys; lone surrogates have no UTF-8.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMapping:
    """Where this provider keeps what."""

    tenant_claim: str = "tenant_id"
    role_clients: frozenset[str] = frozenset()
    """Clients whose roles in `resource_access` count; those of any other client mean nothing here."""
    requires_scopes: bool = False
    """A token without any `stoa:*` scope gives its caller nothing, instead of what the roles give."""


def principal_of(claims: Claims, mapping: ClaimMapping) -> Principal:
    """The caller that these claims describe. Raises NotAuthenticated when they do not describe one.

    Times are translated, not judged: there is no clock here.
    """
    expires_at = numeric_date(claims, "exp")
    if expires_at is None:
        raise NotAuthenticated("The token has no expiry (exp)")
    roles = _roles(claims, mapping.role_clients)
    granted = (_optional_text(claims, "scope", may_be_empty=True) or "").split(" ")
    limit = stoa_scopes(granted)
    return Principal(
        subject=_text(claims, "sub"),
        tenant=_tenant(claims, mapping.tenant_claim),
        roles=roles,
        token_scopes=limit if limit or mapping.requires_scopes else None,
        scopes=scopes_of(roles).union(filter(None, granted)),  # Principal keeps what roles and token both give
        client=_optional_text(claims, "azp") or _optional_text(claims, "client_id"),
        issuer=_text(claims, "iss"),
        expires_at=expires_at,
    )


def numeric_date(claims: Claims, name: str) -> datetime | None:
    """A NumericDate (RFC 7519 section 2) between 1970 and 9999; None when the claim is absent."""
    if name not in claims:
        return None
    seconds = claims[name]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LAST_SECOND:
        raise _malformed(name)
    return datetime.fromtimestamp(seconds, UTC)


def _roles(claims: Claims, clients: frozenset[str]) -> frozenset[str]:
    roles = set(_texts(claims, "roles"))
    roles.update(_texts(_object(claims, "realm_access"), "roles", "realm_access.roles"))
    by_client = _object(claims, "resource_access")
    for client in clients:
        roles.update(_texts(_object(by_client, client, "resource_access"), "roles", "resource_access"))
    return frozenset(roles)


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
        raise NotAuthenticated("The token's tenant is not a lower-case RFC 1123 label")
    return TenantId(name)


def _is_tenant_name(name: str) -> bool:
    try:
        _TENANT_NAME.validate_python(name)
    except ValidationError:  # its text quotes the claim, so it must not become the context of our error
        return False
    return True


def _object(claims: Claims, name: str, label: str = "") -> Claims:
    value = claims.get(name, {})
    if not isinstance(value, dict):
        raise _malformed(label or name)
    return cast("dict[str, Any]", value)


def _texts(claims: Claims, name: str, label: str = "") -> list[str]:
    value = claims.get(name, [])
    if not isinstance(value, list):
        raise _malformed(label or name)
    values = cast("list[object]", value)
    texts = [text for text in values if _is_text(text)]
    if len(texts) != len(values):
        raise _malformed(label or name)
    return cast("list[str]", texts)


def _text(claims: Claims, name: str) -> str:
    text = _optional_text(claims, name)
    if text is None:
        raise NotAuthenticated(f"The token has no {name}")
    return text


def _optional_text(claims: Claims, name: str, *, may_be_empty: bool = False) -> str | None:
    if name not in claims:
        return None
    value: object = claims[name]
    if not (_is_text(value) or (may_be_empty and value == "")):
        raise _malformed(name)
    return cast("str", value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and not _UNSAFE.search(value)


def _malformed(name: str) -> NotAuthenticated:
    return NotAuthenticated(f"The token's claim {name} is malformed")
