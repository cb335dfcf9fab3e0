"""`stoa stdio`: the gateway for one client that starts it itself and talks MCP over its standard input and output."""

import os
from datetime import datetime, timedelta
from typing import Literal

from dishka import AsyncContainer

from stoa.application.ports.clock import Clock
from stoa.domain.errors import InvalidInput
from stoa.domain.identity import TenantId
from stoa.domain.invocation import BearerToken, Credential
from stoa.interfaces.bootstrap import serve_stdio, start_logging
from stoa.interfaces.cli.common import TOKEN_LIFETIME_SECONDS, development_token, open_container, settings_for
from stoa.interfaces.mcp.stdio import CredentialNow
from stoa.interfaces.mcp.views import view_of

_RENEW_BEFORE = timedelta(minutes=5)


async def stdio(
    *,
    role: str | None = None,
    tenant: str | None = None,
    catalogue: list[str] | None = None,
    profile: Literal["portable", "faithful"] | None = None,
    tags: str = "",
    toolset: str | None = None,
) -> int:
    """Serve the catalogue over MCP to the program that starts this one.

    Every message is authenticated with the token in STOA_TOKEN; when it expires, messages are refused until the client
    starts this again with another. Log lines go to standard error, the audit trail to DATA_DIR/audit.jsonl.

    Parameters
    ----------
    role
        Serve as this role, with development tokens that are renewed; else the token in STOA_TOKEN is used.
    tenant
        Tenant of the development tokens; with STOA_TOKEN the tenant whose catalogue is meant.
    catalogue
        Manifest file or folder; TENANT=PATH where a tenant's team writes there. May be given several times. Replaces
        CATALOGUE_PATH.
    profile
        List input schemas as every client understands them, or as they were declared. Replaces MCP_PROFILE.
    tags
        List the tools with one of these tags, comma-separated.
    toolset
        List the tools of this ToolSet.
    """
    settings = settings_for(catalogue or [])
    start_logging(settings)
    async with open_container(settings) as container:
        if role is not None:
            credential: CredentialNow = _DevelopmentTokens(container, await container.get(Clock), role, tenant)
        elif token := os.environ.get("STOA_TOKEN"):
            credential = _Fixed(BearerToken(token))
        elif settings.identity_provider == "none":
            credential = _Fixed(None)
        else:
            raise InvalidInput("nobody would be let in: set STOA_TOKEN, or pass --role for a development token")
        acting_for = TenantId(tenant) if tenant is not None and role is None else None
        view = view_of(profile=profile or settings.mcp_profile, tags=(tags,), toolset=toolset)
        await serve_stdio(container, credential, tenant=acting_for, view=view)
    return 0


class _Fixed:
    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    async def __call__(self) -> Credential:
        return self._credential


class _DevelopmentTokens:
    """A client may stay for days: the token is replaced before it expires."""

    def __init__(self, container: AsyncContainer, clock: Clock, role: str, tenant: str | None) -> None:
        self._container = container
        self._clock = clock
        self._role = role
        self._tenant = tenant
        self._token: BearerToken | None = None
        self._renew_at: datetime = clock.now()

    async def __call__(self) -> Credential:
        now = self._clock.now()
        if self._token is None or now >= self._renew_at:
            lifetime = TOKEN_LIFETIME_SECONDS
            self._token = BearerToken(await development_token(self._container, self._role, self._tenant, lifetime))
            self._renew_at = now + timedelta(seconds=lifetime) - _RENEW_BEFORE
        return self._token
