"""The gateway behind `stoa stdio`: its settings, credentials and catalogue."""

import asyncio
import os
from datetime import datetime, timedelta
from typing import Literal

from dishka import AsyncContainer

from stoa.application.ports.clock import Clock
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import BearerToken, Credential
from stoa.domain.errors import InvalidInput
from stoa.interfaces.bootstrap import STANDARD_INPUT, ServedSpec, serve_stdio, start_logging
from stoa.interfaces.cli.common import (
    TOKEN_LIFETIME_SECONDS,
    default_role,
    development_token,
    open_container,
    settings_for,
    spec_of,
)
from stoa.interfaces.cli.spec_options import SpecOptions
from stoa.interfaces.settings import Settings
from stoa.interfaces.stdio import StdioConnection
from stoa.interfaces.wire.credentials import CredentialNow
from stoa.interfaces.wire.views import view_of

_RENEW_BEFORE = timedelta(minutes=5)


def serve(
    connection: StdioConnection,
    *,
    spec: str | None,
    options: SpecOptions,
    role: str | None,
    tenant: str | None,
    catalogue: list[str],
    profile: Literal["portable", "faithful"] | None,
    tags: str,
    toolset: str | None,
) -> None:
    """Serves the client that is being greeted on the connection. The options are explained in `stdio.py`."""
    if spec == STANDARD_INPUT:
        raise InvalidInput("-: standard input is the connection to the client; give a file or an address")
    settings = settings_for(catalogue)
    start_logging(settings)
    described = spec_of(settings, spec, options)
    role = role or default_role(settings, described)
    asyncio.run(_serve(connection, settings, described, role, tenant, profile, tags, toolset))


async def _serve(
    connection: StdioConnection,
    settings: Settings,
    spec: ServedSpec | None,
    role: str | None,
    tenant: str | None,
    profile: Literal["portable", "faithful"] | None,
    tags: str,
    toolset: str | None,
) -> None:
    async with open_container(settings, spec) as container:
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
        await serve_stdio(container, credential, connection=connection, tenant=acting_for, view=view)


class _Fixed:
    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    async def __call__(self) -> Credential:
        return self._credential


class _DevelopmentTokens:
    """Development tokens of one client, which may stay for days: each is replaced before it expires."""

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
