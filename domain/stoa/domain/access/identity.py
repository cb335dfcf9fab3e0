"""Identity of callers: tenants, roles, scopes and the Principal that a verified credential yields.

A caller's rights are those its roles give, limited by the `stoa:*` scopes of its token where it has any: never the
union. A client that asks for a scope can narrow what its user may do, not widen it. Roles and scopes are open sets, so
an identity provider may send more than the gateway knows.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Annotated, NewType

from pydantic import Field, StringConstraints, ValidationError, ValidationInfo, field_validator

from stoa.domain.value import Value

TenantId = NewType("TenantId", str)
TenantName = Annotated[TenantId, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""A tenant as it is written in manifests and claims: an RFC 1123 label, like a Kubernetes namespace."""

SCOPE_PREFIX = "stoa:"
"""Prefix of the scopes that grant rights in the gateway; other scopes belong to the identity provider."""
SCOPE_ADMIN, SCOPE_WRITE, SCOPE_READ = "stoa:admin", "stoa:write", "stoa:read"
ALL_SCOPES = (SCOPE_READ, SCOPE_WRITE, SCOPE_ADMIN)

PLATFORM_ROLE = "cpi-admin"
"""The only role with a view on every tenant; nothing but this role gives it."""
TENANT_ROLE = "tenant-admin"
"""Administers one tenant."""

ROLE_SCOPES: dict[str, frozenset[str]] = {
    PLATFORM_ROLE: frozenset(ALL_SCOPES),
    TENANT_ROLE: frozenset({SCOPE_WRITE, SCOPE_READ}),
    "devops": frozenset({SCOPE_WRITE, SCOPE_READ}),
    "viewer": frozenset({SCOPE_READ}),
}
"""The scopes that each known role grants, most powerful role first."""


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """All scopes that these roles give. Unknown roles give none."""
    return frozenset[str]().union(*(ROLE_SCOPES.get(role, frozenset()) for role in roles))


def stoa_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """The `stoa:*` scopes among `scopes`."""
    return frozenset(scope for scope in scopes if scope.startswith(SCOPE_PREFIX))


class Principal(Value):
    """A verified caller. Only a TokenVerifier, or the embedding program, makes one."""

    subject: str = Field(min_length=1)
    """Unique within the issuer (OIDC `sub`)."""
    tenant: TenantName | None = None
    """None: belongs to no tenant and sees global tools only."""
    roles: frozenset[str] = frozenset()
    token_scopes: frozenset[str] | None = None
    """The `stoa:*` scopes that the token is limited to, regardless of its roles; None means unlimited."""
    scopes: frozenset[str] = frozenset()
    """Effective scopes. Of the `stoa:*` scopes given here only those remain that `roles` grant and `token_scopes`
    allows; `of` derives them."""
    client: str | None = None
    """OAuth client that obtained the credential (`azp` or `client_id`)."""
    issuer: str = "local"
    expires_at: datetime | None = None
    """None: it does not expire, as for a principal that the embedding program vouches for."""

    @classmethod
    def of(cls, subject: str, *, tenant: str | None = None, roles: Iterable[str] = (), **rest: object) -> "Principal":
        """A principal whose scopes follow from its roles; usually the constructor that an embedding program wants."""
        held = frozenset(roles)
        return cls.model_validate(
            {"subject": subject, "tenant": tenant, "roles": held, "scopes": scopes_of(held), **rest}
        )

    @field_validator("scopes")
    @classmethod
    def _limit(cls, scopes: frozenset[str], info: ValidationInfo) -> frozenset[str]:
        """Limits scopes at construction, so that no TokenVerifier, embedding program or policy can forget to."""
        limit: frozenset[str] | None = info.data.get("token_scopes")
        given = scopes_of(info.data.get("roles", ()))
        return scopes - stoa_scopes(scopes) | (scopes & (given if limit is None else given & limit))

    @property
    def is_platform_admin(self) -> bool:
        """True for a principal with the role cpi-admin whose token is not limited to less than `stoa:admin`."""
        return PLATFORM_ROLE in self.roles and SCOPE_ADMIN in self.scopes

    def administers(self, owner: TenantId | None) -> bool:
        """True if this principal may know how an operation of `owner` (None: global) is made: platform admins, and
        tenant admins for what is their tenant's."""
        is_own = owner is not None and owner == self.tenant
        return self.is_platform_admin or (is_own and TENANT_ROLE in self.roles and self.holds(SCOPE_WRITE))

    def holds(self, scope: str) -> bool:
        """True when both the roles and the token of this principal grant `scope`."""
        return scope in self.scopes or self.is_platform_admin

    def token_covers(self, scope: str) -> bool:
        """True when the token is not limited to less than `scope`; roles are not considered."""
        return self.token_scopes is None or scope in self.token_scopes or self.is_platform_admin

    def stepped_up(self, scopes: Iterable[str]) -> "Principal":
        """This principal with a token that has these scopes too; scopes that its roles do not give stay without
        effect."""
        wanted = frozenset(scopes)
        limit = None if self.token_scopes is None else self.token_scopes | stoa_scopes(wanted)
        changed = {"token_scopes": limit, "scopes": self.scopes | wanted}
        return type(self).model_validate({**dict(self), **changed})

    @cached_property
    def identity_key(self) -> str:
        """Digest of the identity (issuer, subject, client): the key of limits and sessions."""
        return _digest(self.issuer, self.subject, self.client)

    @cached_property
    def authorization_key(self) -> str:
        """Digest of everything a policy may decide by: equal keys get equal decisions."""
        limit = () if self.token_scopes is None else (sorted(self.token_scopes),)
        return _digest(self.identity_key, self.tenant, sorted(self.roles), sorted(self.scopes), *limit)

    def hears_of(self, owner: TenantId | None) -> bool:
        """True if this principal may learn that an operation of `owner` (None: global) changed. Changes in other
        tenants stay hidden, including the time at which they happen."""
        return owner is None or owner == self.tenant or self.is_platform_admin

    def acting_for(self, tenant: TenantId | None) -> "Principal | None":
        """This principal with its view on `tenant`; None when it may not look there.

        None and the principal's own tenant change nothing. Only a platform admin may look elsewhere. For anyone else,
        and for a name that no tenant can have, the answer is that of a tenant that does not exist.
        """
        if tenant is None or tenant == self.tenant:
            return self
        if not self.is_platform_admin:
            return None
        try:
            return type(self).model_validate({**dict(self), "tenant": tenant})
        except ValidationError:
            return None


def _digest(*parts: str | list[str] | None) -> str:
    """Digest of the parts as JSON, so that no character in one part can make it look like two."""
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()
