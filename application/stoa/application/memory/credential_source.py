"""Secrets handed over by the embedding program, or by a test."""

from collections.abc import Mapping

from stoa.application.ports.credential_source import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference


class InMemoryCredentialSource(CredentialSource):
    """Keeps secrets by tenant (None: global tools) and name; each is a mapping of entries."""

    def __init__(self) -> None:
        self._secrets: dict[tuple[TenantId | None, str], dict[str, str]] = {}

    def put(self, tenant: TenantId | None, name: str, entries: Mapping[str, str]) -> None:
        """Add a secret, or replace all its entries; the next call sees it."""
        self._secrets[tenant, name] = dict(entries)

    def remove(self, tenant: TenantId | None, name: str) -> None:
        self._secrets.pop((tenant, name), None)

    def read(self, tenant: TenantId | None, reference: SecretReference, default_key: str) -> str:
        key = reference.key or default_key
        value = self._secrets.get((tenant, reference.name), {}).get(key)
        if value is None:
            owner = f"tenant {tenant}" if tenant is not None else "global tools"
            message = f"The secret {reference.name} (entry {key}) of {owner} cannot be used: it was not registered"
            raise BackendUnavailable(message)
        return value
