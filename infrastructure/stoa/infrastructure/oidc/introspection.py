"""Asks the provider whether a token is still active (RFC 7662), because a signature does not show a revocation."""

from collections.abc import Callable
from dataclasses import dataclass

import pydantic_core
from pydantic import SecretStr

from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import IdentityUnavailable, NotAuthenticated
from stoa.domain.schema.json_value import as_object
from stoa.infrastructure.oidc.provider_client import ProviderClient


@dataclass(frozen=True, slots=True)
class Introspection:
    """Introspects tokens. `url`: the introspection endpoint as currently known, or None. The client authenticates with
    its secret."""

    url: Callable[[], str | None]
    client_id: str
    client_secret: SecretStr
    http: ProviderClient

    async def check(self, token: str) -> None:
        """Raises NotAuthenticated if the token is not active, IdentityUnavailable if the provider gives no answer."""
        form = {
            "token": token,
            "token_type_hint": "access_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret.get_secret_value(),
        }
        url = self.url()
        try:
            status, body = (0, b"") if url is None else await self.http.post_form(url, form)
            answer = as_object(pydantic_core.from_json(body)) if status == 200 else {}
        except (OSError, TimeoutError, ValueError):
            status, answer = 0, {}
        if status == 403:  # Keycloak: the realm is disabled
            raise NotAuthenticated("The token was withdrawn", reason=RefusalReason.REVOKED)
        if status != 200:
            raise IdentityUnavailable("Tokens cannot be checked at the moment: the identity provider does not answer")
        if answer.get("active") is not True:
            raise NotAuthenticated("The token was withdrawn", reason=RefusalReason.REVOKED)
