"""An OAuth2 token endpoint on loopback: client credentials and token exchange, as Keycloak answers them."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from tests.infrastructure.rest.loopback import Answer, Loopback, Seen, answer, loopback

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
PATH = "/realms/stoa/protocol/openid-connect/token"


@dataclass
class OAuthPeer:
    """Knows `clients` (secret and audiences) and `subjects` (whose a token is). `instead`, when set, answers."""

    server: Loopback
    clients: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)
    lifetime: Any = 300
    instead: Answer | Awaitable[Answer] = None

    @property
    def issuer(self) -> str:
        return f"{self.server.url}/realms/stoa"

    @property
    def url(self) -> str:
        return f"{self.server.url}{PATH}"

    @property
    def asked(self) -> int:
        return len(self.server.seen)

    def answered(self, seen: Seen) -> Answer | Awaitable[Answer]:
        return self.instead if self.instead is not None else self._judged(seen)

    def _judged(self, seen: Seen) -> bytes:
        assert (seen.method, seen.target.partition("?")[0]) == ("POST", PATH)
        assert seen.header("Content-Type") == "application/x-www-form-urlencoded"
        form = form_of(seen)
        pair = base64.b64decode((seen.header("Authorization") or "").removeprefix("Basic ")).decode("ascii")
        client, _, secret = pair.partition(":")
        client = unquote_plus(client)
        known, audiences = self.clients.get(client, (None, frozenset()))
        if known != unquote_plus(secret):
            return refusal("unauthorized_client", "401 Unauthorized")
        if "audience" in form and form["audience"] not in audiences:
            return refusal("invalid_request")
        claims = {"aud": form.get("audience", "everywhere"), "azp": client, "n": self.asked}
        claims["scope"] = form.get("scope", "")
        if form["grant_type"] == EXCHANGE:
            assert form["subject_token_type"] == form["requested_token_type"] == ACCESS_TOKEN
            if form["subject_token"] not in self.subjects:
                return refusal("invalid_token")
            claims["sub"] = self.subjects[form["subject_token"]]
        else:
            assert form["grant_type"] == "client_credentials"
        said = {"access_token": jwt(claims), "token_type": "Bearer", "expires_in": self.lifetime}
        return answer(json.dumps(said).encode())


def refusal(error: str, status: str = "400 Bad Request", **more: str) -> bytes:
    return answer(json.dumps({"error": error, **more}).encode(), status=status)


def jwt(claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({}, claims)]
    return ".".join([*parts, "signature"])


def claims_of(token: str) -> dict[str, Any]:
    body = token.removeprefix("Bearer ").split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def form_of(seen: Seen) -> dict[str, str]:
    pairs = parse_qsl(seen.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs), "a parameter must not stand twice (RFC 6749 section 3.2)"
    return dict(pairs)


@asynccontextmanager
async def oauth_peer() -> AsyncIterator[OAuthPeer]:
    peers: list[OAuthPeer] = []
    async with loopback(lambda seen: peers[0].answered(seen)) as server:
        peers.append(OAuthPeer(server))
        yield peers[0]
