"""Who is calling: tenants, roles, scopes and the Principal that a verified credential yields.

What a caller may do is what its roles give, limited by the `stoa:*` scopes of its token where it has any: never the
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
"""Begins the scopes that say what may be done here; all others are the identity provider's own business."""
SCOPE_ADMIN, SCOPE_WRITE, SCOPE_READ = "stoa:admin", "stoa:write", "stoa:read"
ALL_SCOPES = (SCOPE_READ, SCOPE_WRITE, SCOPE_ADMIN)

PLATFORM_ROLE = "cpi-admin"
"""The only role with a view on every tenant; nothing but this role gives it."""
TENANT_ROLE = "tenant-admin"
"""Looks after one tenant."""

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
    """Those of `scopes` that limit what may be done here."""
    return frozenset(scope for scope in scopes if scope.startswith(SCOPE_PREFIX))


class Principal(Value):
    """A verified caller. Only a TokenVerifier, or the embedding program, makes one."""

    subject: str = Field(min_length=1)
    """Unique within the issuer (OIDC `sub`)."""
    tenant: TenantName | None = None
    """None: belongs to no tenant and sees global tools only."""
    roles: frozenset[str] = frozenset()
    token_scopes: frozenset[str] | None = None
    """The `stoa:*` scopes that the token is limited to, whatever the roles give; None: it is not limited."""
    scopes: frozenset[str] = frozenset()
    """Effective scopes. Of the `stoa:*` ones given here those remain that `roles` give and `token_scopes` leaves; see
    `of` for deriving them."""
    client: str | None = None
    """OAuth client that obtained the credential (`azp` or `client_id`)."""
    issuer: str = "local"
    expires_at: datetime | None = None
    """None: never, as for a principal that the embedding program vouches for."""

    @classmethod
    def of(cls, subject: str, *, tenant: str | None = None, roles: Iterable[str] = (), **rest: object) -> "Principal":
        """A principal whose scopes follow from its roles; what an embedding program usually wants."""
        held = frozenset(roles)
        return cls.model_validate(
            {"subject": subject, "tenant": tenant, "roles": held, "scopes": scopes_of(held), **rest}
        )

    @field_validator("scopes")
    @classmethod
    def _limit(cls, scopes: frozenset[str], info: ValidationInfo) -> frozenset[str]:
        """Here, so that no TokenVerifier, embedding program or policy can forget it."""
        limit: frozenset[str] | None = info.data.get("token_scopes")
        given = scopes_of(info.data.get("roles", ()))
        return scopes - stoa_scopes(scopes) | (scopes & (given if limit is None else given & limit))

    @property
    def is_platform_admin(self) -> bool:
        """Holds the role cpi-admin and a token that is not limited to less than `stoa:admin`."""
        return PLATFORM_ROLE in self.roles and SCOPE_ADMIN in self.scopes

    def holds(self, scope: str) -> bool:
        """May this principal use what needs this scope, by its roles and its token?"""
        return scope in self.scopes or self.is_platform_admin

    def token_covers(self, scope: str) -> bool:
        """Does the token let its caller use what needs this scope, as far as the token is concerned?"""
        return self.token_scopes is None or scope in self.token_scopes or self.is_platform_admin

    def stepped_up(self, scopes: Iterable[str]) -> "Principal":
        """This principal with a token that has these scopes too; what its roles do not give stays without effect."""
        wanted = frozenset(scopes)
        limit = None if self.token_scopes is None else self.token_scopes | stoa_scopes(wanted)
        changed = {"token_scopes": limit, "scopes": self.scopes | wanted}
        return type(self).model_validate({**dict(self), **changed})

    @cached_property
    def identity_key(self) -> str:
        """Digest of who this is (issuer, subject, client): the key of limits and sessions."""
        return _digest(self.issuer, self.subject, self.client)

    @cached_property
    def authorization_key(self) -> str:
        """Digest of everything a policy may look at: equal keys get equal decisions."""
        limit = () if self.token_scopes is None else (sorted(self.token_scopes),)
        return _digest(self.identity_key, self.tenant, sorted(self.roles), sorted(self.scopes), *limit)

    def hears_of(self, owner: TenantId | None) -> bool:
        """May this principal notice that something of `owner` (None: global) changed? Nobody notices what other tenants
        do, not even when."""
        return owner is None or owner == self.tenant or self.is_platform_admin

    def acting_for(self, tenant: TenantId | None) -> "Principal | None":
        """This principal with its view on `tenant`; None when it may not look there.

        Asking for nothing, or for one's own tenant, changes nothing. Only a platform admin may look
        elsewhere; anybody else, and whoever names what no tenant can be called, gets the answer of a tenant
        that does not exist.
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
    """As JSON, so that no character in one part can make it look like two."""
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()
