"""Combines credential sources: the first that has the secret returns it."""

from collections.abc import Sequence

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference
from stoa.infrastructure.files.credentials.messages import SEPARATOR, not_usable


class ChainedCredentialSource(CredentialSource):
    """Asks `sources` in order. When none has the secret, the error says for each where to put it."""

    def __init__(self, sources: Sequence[CredentialSource]) -> None:
        self._sources = tuple(sources)

    def read(self, tenant: TenantId | None, reference: SecretReference, default_key: str) -> str:
        problems: list[str] = []
        for source in self._sources:
            try:
                return source.read(tenant, reference, default_key)
            except BackendUnavailable as error:
                problems.append(error.message.partition(SEPARATOR)[2] or error.message)
        raise not_usable(
            tenant, reference, reference.key or default_key, ", or ".join(problems) or "no source of secrets"
        )
