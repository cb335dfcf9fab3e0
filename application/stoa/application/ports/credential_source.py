"""Provides the secrets by which the gateway authenticates at back ends."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.access.identity import TenantId
from stoa.domain.operations.tool import SecretReference


class CredentialSource(Protocol):
    """Laws:

    - `read` finds secrets of `tenant` only (None: of global tools); no reference reaches another tenant's.
    - A changed secret is seen by the next call without a restart.
    - Raises BackendUnavailable, naming the reference and never a value, when the secret is absent or unreadable.
    - The value never appears in an error, a log line or a repr.
    """

    @abstractmethod
    def read(self, tenant: TenantId | None, reference: SecretReference, default_key: str) -> str:
        """The secret's entry `reference.key`, or `default_key` if the reference names none. Never blocks long: it may
        read a small local file, nothing slower."""
        ...
