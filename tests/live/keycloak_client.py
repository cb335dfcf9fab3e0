"""What people, agents and administrators do with Keycloak, by its own APIs."""

import base64
import hashlib
import html
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from tests.live.servers import Keycloak

REDIRECT = "http://127.0.0.1:54321/callback"
GATEWAY = {"client_id": "stoa-mcp-gateway", "client_secret": "stoa-mcp-gateway-secret"}


class Realm:
    """The realm `stoa` of a running server."""

    def __init__(self, server: Keycloak) -> None:
        self.server = server
        self.endpoint = f"{server.issuer}/protocol/openid-connect"

    def token(self, **form: str) -> str:
        answer = httpx.post(f"{self.endpoint}/token", data=form, timeout=30)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def of_user(self, name: str) -> str:
        return self.token(grant_type="password", client_id="stoa-cli", username=name, password=name, scope="openid")

    def of_agent(self) -> str:
        form = {"client_id": "stoa-agent", "client_secret": "stoa-agent-secret"}
        return self.token(grant_type="client_credentials", **form)

    def exchanged(self, token: str, audience: str = "stoa-backend") -> str:
        kind = "urn:ietf:params:oauth:token-type:access_token"
        grant = "urn:ietf:params:oauth:grant-type:token-exchange"
        form = {"subject_token": token, "subject_token_type": kind, "requested_token_type": kind}
        return self.token(grant_type=grant, audience=audience, **form, **GATEWAY)

    def by_code(self, user: str, client: str = "stoa-cli") -> str:
        """Authorization code with PKCE, as a browser would go through it."""
        verifier = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        with httpx.Client(timeout=30) as http:
            query = {
                "client_id": client,
                "response_type": "code",
                "scope": "openid",
                "state": "s",
                "redirect_uri": REDIRECT,
                "code_challenge_method": "S256",
                "code_challenge": challenge,
            }
            page = http.get(f"{self.endpoint}/auth", params=query)
            for cookie in http.cookies.jar:
                cookie.secure = False  # as browsers do on loopback
            form = re.search(r'<form[^>]+id="kc-form-login"[^>]+action="([^"]+)"', page.text)
            assert form, page.text[:500]
            answer = http.post(html.unescape(form.group(1)), data={"username": user, "password": user})
            code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        form_data = {"client_id": client, "redirect_uri": REDIRECT, "code_verifier": verifier}
        return self.token(grant_type="authorization_code", code=code, **form_data)

    def revoke(self, token: str) -> None:
        form = {"token": token, "client_id": "stoa-cli"}
        httpx.post(f"{self.endpoint}/revoke", data=form, timeout=30).raise_for_status()

    def admin(self) -> httpx.Client:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
        master = f"{self.server.url}/realms/master/protocol/openid-connect/token"
        token = httpx.post(master, data=form, timeout=30).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=f"{self.server.url}/admin/realms/", timeout=60, headers=headers)

    def rotate_key(self) -> str:
        """New tokens get another key; returns the old one's provider."""
        with self.admin() as api:
            keys = api.get("stoa/keys").json()
            active = keys["active"]["RS256"]
            old: str = next(key["providerId"] for key in keys["keys"] if key["kid"] == active)
            config = {"priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]}
            component: dict[str, Any] = {
                "name": f"rsa-{active[:6]}",
                "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "parentId": api.get("stoa").json()["id"],
                "config": {**config, "keySize": ["2048"]},
            }
            api.post("stoa/components", json=component).raise_for_status()
        return old

    def retire_key(self, provider: str) -> None:
        with self.admin() as api:
            component = api.get(f"stoa/components/{provider}").json()
            component["config"] |= {"active": ["false"], "enabled": ["false"]}
            api.put(f"stoa/components/{provider}", json=component).raise_for_status()

    @contextmanager
    def short_lived_tokens(self, seconds: int) -> Generator[None]:
        """Access tokens that are issued meanwhile expire after so many seconds."""
        with self.admin() as api:
            usual = api.get("stoa").json()["accessTokenLifespan"]
            api.put("stoa", json={"accessTokenLifespan": seconds}).raise_for_status()
            try:
                yield
            finally:
                api.put("stoa", json={"accessTokenLifespan": usual}).raise_for_status()

    def end_sessions(self, user: str) -> None:
        """No refresh token of this user's that was issued until now can be used any longer."""
        with self.admin() as api:
            (found,) = api.get("stoa/users", params={"username": user, "exact": "true"}).json()
            for consent in api.get(f"stoa/users/{found['id']}/consents").json():
                api.delete(f"stoa/users/{found['id']}/consents/{consent['clientId']}").raise_for_status()
            api.post(f"stoa/users/{found['id']}/logout").raise_for_status()

    def set_enabled(self, is_enabled: bool) -> None:
        with self.admin() as api:
            api.put("stoa", json={"enabled": is_enabled}).raise_for_status()
