"""Upstream tokens with an authorization server in memory that can be slowed down, and counts."""

import asyncio
from typing import Any

from stoa.application.backends.upstream_tokens import UpstreamTokens
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import GrantedToken, TokenRequest, UpstreamAccess
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.errors import StoaError
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.testing.clock import ManualClock
from stoa.testing.token_endpoint import InMemoryTokenEndpoint

ISSUER = "https://auth.example/realms/stoa"
TOKEN_URL = f"{ISSUER}/protocol/openid-connect/token"
ALICE_TOKEN, BOB_TOKEN = "t0ken-of-alice", "t0ken-of-bob"
ALICE = Principal.of("alice", tenant="acme", roles=["viewer"], issuer=ISSUER)
BOB = Principal.of("bob", tenant="acme", roles=["viewer"], issuer=ISSUER)


class Server(InMemoryTokenEndpoint):
    """`gate`, when set, is waited for; `failure`, when set, is raised."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.gate: asyncio.Event | None = None
        self.failure: StoaError | None = None
        self.asked: list[TokenRequest] = []

    async def grant(self, request: TokenRequest) -> GrantedToken:
        self.asked.append(request)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await super().grant(request)


def oauth_tool(name: str = "pets", tenant: str | None = "acme", secret: str = "pets", **grant: Any) -> Tool:
    bound = {"type": "clientCredentials", "token_url": TOKEN_URL, **grant}
    authentication = {"type": "oauth2", "secret": {"name": secret}, "grant": bound}
    fields = {"name": name, "tenant": tenant, "binding": LocalBinding(function=name)}
    return Tool.model_validate({**fields, "authentication": authentication})


class Tokens:
    """The client `gateway` may have tokens for `pets`; alice and bob are known by their tokens."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.server = Server(TOKEN_URL)
        self.credentials = InMemoryCredentialSource()
        self.set_secret("hunter2")
        self.server.add_subject(ALICE_TOKEN, "alice")
        self.server.add_subject(BOB_TOKEN, "bob")
        self.tokens = UpstreamTokens(self.server, self.credentials, self.clock, issuers=[ISSUER], **options)

    def set_secret(self, secret: str, tenant: str | None = "acme", client: str = "gateway") -> None:
        owner = None if tenant is None else TenantId(tenant)
        self.credentials.put(owner, "pets", {"clientId": client, "clientSecret": secret})
        self.server.add_client(client, secret, audiences=["pets"])

    def access(self, tool: Tool, principal: Principal = ALICE, token: BearerToken | None = None) -> UpstreamAccess:
        return self.tokens.prepare(tool)(principal, token)

    def own(self) -> UpstreamAccess:
        return self.access(oauth_tool())

    def exchanged(self, principal: Principal = ALICE, token: str = ALICE_TOKEN) -> UpstreamAccess:
        return self.access(oauth_tool(type="tokenExchange", audience="pets"), principal, BearerToken(token))

    async def settle(self) -> None:
        """Let what is under way come to its end."""
        for _ in range(10):
            await asyncio.sleep(0)
