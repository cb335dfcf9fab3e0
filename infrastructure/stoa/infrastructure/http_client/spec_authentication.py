"""Shows the gateway's credential to a server that asks for it before it shows an API description."""

from yarl import URL

from stoa.application.ports import CredentialSource, SpecCredential
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.binding import origin_of
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.infrastructure.http_client.authentication import Sign, compile_authentication

NO_CALLER = "authentication in the name of callers cannot fetch a description; use clientCredentials, or give a file"
"""Problem with a token exchange: a description is fetched when nobody calls."""


async def sign_of(credential: SpecCredential, url: str, credentials: CredentialSource) -> Sign:
    """The function that adds the credential to a request for `url`. Raises InvalidInput, and what CredentialSource and
    UpstreamAccess raise."""
    if credential.authentication.type == "oauth2":
        if credential.access is None:
            raise InvalidInput(NO_CALLER)
        return bearer(await credential.access.token())
    # Signing is compiled for an operation, which this request stands for.
    request = Tool(
        name="api-description",
        tenant=credential.tenant,
        binding=RestBinding(method="GET", base_url=origin_of(url), path="/"),
        authentication=credential.authentication,
    )
    sign = compile_authentication(request, credentials)
    if sign is None:
        raise InvalidInput("the server asks for a credential, and the authentication has none")
    return sign


def bearer(token: str) -> Sign:
    def sign(headers: dict[str, str], url: URL) -> URL:
        headers["Authorization"] = f"Bearer {token}"
        return url

    return sign
