"""Messages of the credential sources about a secret. They never contain its value."""

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference

SEPARATOR = " cannot be used: "
"""Separates the problem from its remedy in a message."""


def not_usable(tenant: TenantId | None, reference: SecretReference, key: str, why: str) -> BackendUnavailable:
    owner = f"tenant {tenant}" if tenant is not None else "global tools"
    return BackendUnavailable(f"The secret {reference.name} (entry {key}) of {owner}{SEPARATOR}{why}")
