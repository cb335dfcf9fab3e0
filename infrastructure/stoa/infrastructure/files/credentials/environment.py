"""Secrets in environment variables: STOA_SECRET__<TENANT or GLOBAL>__<NAME>__<KEY>.

Each part is upper-cased, and every character other than a letter or digit becomes `_`. A double underscore separates
the parts, so a tenant or name that folds to one with a double underscore is refused: the first `__` then always ends
the tenant, and no reference of one tenant can spell another tenant's variable.
"""

import os
import re
from collections.abc import Mapping

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.operations.tool import SecretReference
from stoa.infrastructure.files.credentials.messages import not_usable

PREFIX = "STOA_SECRET__"
GLOBAL = "global"
"""Stands for "no tenant"; a tenant of this name has no secrets here."""

_NOT_ALPHANUMERIC = re.compile(r"[^A-Z0-9]")


class EnvironmentCredentialSource(CredentialSource):
    """Reads `environ` anew for each call; by default the environment of the process."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def read(self, tenant: TenantId | None, reference: SecretReference, default_key: str) -> str:
        key = reference.key or default_key
        variable = variable_name(tenant, reference.name, key)
        if variable is None:
            why = (
                f"a double separator, or a tenant named {GLOBAL}, has no environment variable; use a file or rename it"
            )
            raise not_usable(tenant, reference, key, why)
        value = self._environ.get(variable)
        if value is None:
            raise not_usable(tenant, reference, key, f"set the environment variable {variable}")
        return value


def variable_name(tenant: TenantId | None, name: str, key: str) -> str | None:
    """The environment variable for one entry; None if its name would be ambiguous."""
    if tenant == GLOBAL:
        return None
    owner, secret = _folded(tenant or GLOBAL), _folded(name)
    if "__" in owner or "__" in secret:
        return None
    return f"{PREFIX}{owner}__{secret}__{_folded(key)}"


def _folded(text: str) -> str:
    return _NOT_ALPHANUMERIC.sub("_", text.upper())
