"""Who is calling: tenants, roles, scopes and the Principal that a verified credential yields.

Roles imply scopes; both are open sets, so an identity provider may send more than the gateway knows.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Annotated, NewType

from pydantic import Field, StringConstraints, ValidationError

from stoa.domain.value import Value

TenantId = NewType("TenantId", str)
TenantName = Annotated[TenantId, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""A tenant as it is written in manifests and claims: an RFC 1123 label, like a Kubernetes namespace."""

SCOPE_ADMIN, SCOPE_WRITE, SCOPE_READ = "stoa:admin", "stoa:write", "stoa:read"

ROLE_SCOPES: dict[str, frozenset[str]] = {
    "cpi-admin": frozenset({SCOPE_ADMIN, SCOPE_WRITE, SCOPE_READ}),
    "tenant-admin": frozenset({SCOPE_WRITE, SCOPE_READ}),
    "devops": frozenset({SCOPE_WRITE, SCOPE_READ}),
    "viewer": frozenset({SCOPE_READ}),
}
"""The scopes that each known role grants, most powerful role first."""


def scopes_of(roles: Iterable[str], granted: Iterable[str] = ()) -> frozenset[str]:
    """All scopes that these roles imply, with those granted directly. Unknown roles imply nothing."""
    scopes = set(granted)
    for role in roles:
        scopes |= ROLE_SCOPES.get(role, frozenset())
    return frozenset(scopes)


class Principal(Value):
    """A verified caller. Only a TokenVerifier, or the embedding program, makes one."""

    subject: str = Field(min_length=1)
    """Unique within the issuer (OIDC `sub`)."""
    tenant: TenantName | None = None
    """None: belongs to no tenant and sees global tools only."""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    """Effective scopes; see `of` for deriving them from roles."""
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

    @property
    def is_platform_admin(self) -> bool:
        return SCOPE_ADMIN in self.scopes

    @cached_property
    def identity_key(self) -> str:
        """Digest of who this is (issuer, subject, client): the key of limits and sessions."""
        return _digest(self.issuer, self.subject, self.client)

    @cached_property
    def authorization_key(self) -> str:
        """Digest of everything a policy may look at: equal keys get equal decisions."""
        return _digest(self.identity_key, self.tenant, sorted(self.roles), sorted(self.scopes))

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
