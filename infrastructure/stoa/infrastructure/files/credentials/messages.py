"""The words with which every credential source names a secret; a value is never among them."""

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference

SEPARATOR = " cannot be used: "
"""Between what is missing and what to do about it."""


def not_usable(tenant: TenantId | None, reference: SecretReference, key: str, why: str) -> BackendUnavailable:
    owner = f"tenant {tenant}" if tenant is not None else "global tools"
    return BackendUnavailable(f"The secret {reference.name} (entry {key}) of {owner}{SEPARATOR}{why}")
