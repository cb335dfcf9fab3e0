"""Credentials of the gateway for a back end over HTTP: compiles an Authentication into a function that signs a request.

Secrets are read for each call and added last, so nothing that outlives the call holds one.
"""

import base64
import string
from collections.abc import Callable
from urllib.parse import quote, unquote

from yarl import URL

from stoa.application.ports import CredentialSource
from stoa.domain.errors import BackendUnavailable, InvalidInput
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Authentication, SecretReference
from stoa.infrastructure.http_client.header_text import Unsendable, header_text

Sign = Callable[[dict[str, str], URL], URL]
"""Adds the credential to the headers, or returns the URL with it."""

_COOKIE_OCTETS = "".join(set(string.punctuation) - set('",;\\%'))
"""Characters other than letters and digits that RFC 6265 allows in a cookie value; % is left out because it starts a
percent-encoded octet."""


def compile_authentication(tool: Operation, credentials: CredentialSource) -> Sign | None:
    """The signer of `tool`; None if its back end needs no credential, or a token that each call carries. Raises
    InvalidInput if the authentication cannot work."""
    signers = [_signer(tool, entry, credentials) for entry in tool.authentication.entries if entry.type != "oauth2"]
    if len(signers) < 2:
        return signers[0] if signers else None

    def sign(headers: dict[str, str], url: URL) -> URL:
        for add in signers:
            url = add(headers, url)
        return url

    return sign


def _signer(tool: Operation, authentication: Authentication, credentials: CredentialSource) -> Sign:
    if authentication.scheme is not None:
        raise InvalidInput(
            f"Tool {tool.key}: authentication.scheme {authentication.scheme!r} names a security scheme, which only an "
            "OpenAPI description has; write type and headerName"
        )
    reference = authentication.secret
    if reference is None:
        raise InvalidInput(f"Tool {tool.key}: authentication.type {authentication.type} needs authentication.secret")
    if authentication.type == "bearer":
        return _bearer(tool, reference, credentials)
    if authentication.type == "basic":
        return _basic(tool, reference, credentials)
    return _api_key(tool, authentication, reference, credentials)


def sent_secrets(authentication: Authentication, headers: dict[str, str], url: URL) -> tuple[str, ...]:
    """The secrets in `headers` and `url`, in the forms in which a response might repeat them."""
    return tuple(secret for entry in authentication.entries for secret in _sent_secrets(entry, headers, url))


def _sent_secrets(authentication: Authentication, headers: dict[str, str], url: URL) -> tuple[str, ...]:
    name = authentication.parameter_name
    if authentication.type == "apiKey":
        if authentication.location == "query":
            return (url.query.get(name, ""),)
        if authentication.location == "cookie":
            return (unquote(f"; {headers.get('Cookie', '')}".rpartition(f"; {name}=")[2].partition(";")[0]),)
        return (headers.get(name, ""),)
    sent = headers.get("Authorization", "").partition(" ")[2]
    if authentication.type == "basic":
        return (sent, base64.b64decode(sent).decode().partition(":")[2])
    return (sent,)


def _bearer(tool: Operation, reference: SecretReference, credentials: CredentialSource) -> Sign:
    def sign(headers: dict[str, str], url: URL) -> URL:
        token = credentials.read(tool.tenant, reference, "token")
        headers["Authorization"] = f"Bearer {_sendable(token, tool, reference)}"
        return url

    return sign


def _basic(tool: Operation, reference: SecretReference, credentials: CredentialSource) -> Sign:
    both = SecretReference(name=reference.name)  # a key would name one entry; user name and password are two

    def sign(headers: dict[str, str], url: URL) -> URL:
        username = credentials.read(tool.tenant, both, "username")
        password = credentials.read(tool.tenant, both, "password")
        headers["Authorization"] = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode('ascii')}"
        return url

    return sign


def _api_key(
    tool: Operation, authentication: Authentication, reference: SecretReference, credentials: CredentialSource
) -> Sign:
    name, location = authentication.parameter_name, authentication.location

    def sign(headers: dict[str, str], url: URL) -> URL:
        secret = _sendable(credentials.read(tool.tenant, reference, "apiKey"), tool, reference)
        if location == "query":
            return url.extend_query([(name, secret)])  # unlike URL(text), leaves no copy in yarl's cache
        if location == "cookie":
            pair = f"{name}={quote(secret, safe=_COOKIE_OCTETS)}"
            headers["Cookie"] = f"{headers['Cookie']}; {pair}" if "Cookie" in headers else pair
        else:
            headers[name] = secret
        return url

    return sign


def _sendable(secret: str, tool: Operation, reference: SecretReference) -> str:
    try:
        return header_text(secret)
    except Unsendable:
        message = f"The secret {reference.name} of {tool.key} has control characters; store it without them"
        raise BackendUnavailable(message) from None
