"""How the gateway proves itself to a gRPC server: call metadata, read from secrets for each call."""

import base64
import re
from collections.abc import Callable

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable, InvalidInput
from stoa.domain.operations.binding import Authentication, SecretReference

Metadata = tuple[tuple[str, str], ...]
Sign = Callable[[], Metadata]

_NAME = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")
_TEXT = re.compile(r"[\x20-\x7e]+")


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def compile_authentication(
    authentication: Authentication, tenant: TenantId | None, credentials: CredentialSource, whose: str
) -> Sign | None:
    """None: nothing is asked for, or a token that each call brings along. `whose`: names the tool in messages. Raises
    InvalidInput when it cannot work."""
    entries = authentication.entries
    if len(entries) > 1 or any(entry.scheme is not None for entry in entries):
        raise InvalidInput(f"{whose}: authentication.also and authentication.scheme are for HTTP; write one credential")
    if authentication.type in {"none", "oauth2"}:
        return None
    reference = authentication.secret
    if reference is None:
        raise InvalidInput(f"{whose}: authentication.type {authentication.type} needs authentication.secret")

    def secret(entry: str, named: SecretReference) -> str:
        value = credentials.read(tenant, named, entry)
        if not _TEXT.fullmatch(value):
            message = f"The secret {named.name} of {whose} has characters that metadata cannot carry; store ASCII"
            raise BackendUnavailable(message)
        return value

    if authentication.type == "bearer":
        return lambda: bearer(secret("token", reference))
    if authentication.type == "basic":
        both = SecretReference(name=reference.name)  # a key would name one entry; user name and password are two

        def basic() -> Metadata:
            pair = f"{credentials.read(tenant, both, 'username')}:{credentials.read(tenant, both, 'password')}"
            return (("authorization", f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"),)

        return basic
    name = authentication.parameter_name.lower()
    if authentication.location != "header" or not _NAME.fullmatch(name):
        raise InvalidInput(f"{whose}: an apiKey for gRPC goes into metadata; {name!r} is no name for it")
    return lambda: ((name, secret("apiKey", reference)),)
