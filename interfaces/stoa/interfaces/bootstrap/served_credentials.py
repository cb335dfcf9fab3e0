"""The credentials of the gateway for a description that is served without a manifest, from environment variables.

The value of a variable becomes a secret of the platform, in the environment as all others are; the manifest names the
secret.
"""

import os
import re
from collections.abc import Mapping, Sequence

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.files.credentials.environment import variable_name

_HEADER_OPTION, _SCHEME_OPTION = "--header-from-env", "--scheme-from-env"
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def authentication_from(
    headers: Sequence[str], schemes: Sequence[str], environment: Mapping[str, str]
) -> list[JsonObject]:
    """`toolDefaults.authentication`: all of these credentials go with each request. `headers`: HEADER=VARIABLE, or the
    VARIABLE of a bearer token; `schemes`: SCHEME=VARIABLE, by the name of a security scheme of an OpenAPI description.
    Raises InvalidInput."""
    # Headers come first: the first credential is shown to the server of the description too, and a scheme is known
    # only from the description.
    return [
        *(_header(entry, _secret("header-from-env", number), environment) for number, entry in enumerate(headers)),
        *(_scheme(entry, _secret("scheme-from-env", number), environment) for number, entry in enumerate(schemes)),
    ]


def _secret(name: str, number: int) -> str:
    return f"{name}-{number + 1}" if number else name


def _header(option: str, secret: str, environment: Mapping[str, str]) -> JsonObject:
    header, equals, variable = option.rpartition("=")
    if (equals and not _HEADER.fullmatch(header)) or not variable:
        raise InvalidInput(f"{_HEADER_OPTION}: write HEADER=VARIABLE, or the VARIABLE of a bearer token")
    value = _value(variable, _HEADER_OPTION, environment)
    if not equals and " " in value:
        raise InvalidInput(
            f"{_HEADER_OPTION}: {variable} is no bearer token; write Authorization={variable} to send it as it is"
        )
    _keep(secret, {"apiKey" if equals else "token": value})
    if equals:
        return {"type": "apiKey", "secretRef": {"name": secret}, "headerName": header}
    return {"type": "bearer", "secretRef": {"name": secret}}


def _scheme(option: str, secret: str, environment: Mapping[str, str]) -> JsonObject:
    scheme, _, variable = option.rpartition("=")
    if not scheme or not variable:
        raise InvalidInput(f"{_SCHEME_OPTION}: write SCHEME=VARIABLE, with a name of the description's securitySchemes")
    value = _value(variable, _SCHEME_OPTION, environment)
    # The description says which of these is meant, and it is not read yet.
    username, _, password = value.partition(":")
    _keep(secret, {"apiKey": value, "token": value, "username": username, "password": password})
    return {"scheme": scheme, "secretRef": {"name": secret}}


def _value(variable: str, option: str, environment: Mapping[str, str]) -> str:
    value = environment.get(variable)
    if not value:
        raise InvalidInput(f"{option}: the environment variable {variable} is not set")
    return value


def _keep(secret: str, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        os.environ[variable_name(None, secret, key) or ""] = value
