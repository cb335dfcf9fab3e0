"""`stoa token`: a bearer token of the development issuer."""

import sys

from stoa.domain.access.identity import ROLE_SCOPES
from stoa.interfaces.cli.common import TOKEN_LIFETIME_SECONDS, complain, development_token, open_container
from stoa.interfaces.settings import Settings


async def token(*, role: str, tenant: str | None = None, lifetime: int = TOKEN_LIFETIME_SECONDS) -> None:
    """Print a development token that a gateway with the same DATA_DIR accepts.

    Parameters
    ----------
    role
        cpi-admin, tenant-admin, devops or viewer.
    tenant
        Tenant of the caller.
    lifetime
        Seconds until it expires.
    """
    if role not in ROLE_SCOPES:
        roles = ", ".join(ROLE_SCOPES)
        complain(f"stoa: the default policy knows no role {role!r} and will refuse its calls; it knows {roles}")
    async with open_container(Settings()) as container:
        sys.stdout.write(await development_token(container, role, tenant, lifetime) + "\n")
