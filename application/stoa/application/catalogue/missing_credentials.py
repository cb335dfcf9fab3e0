"""Finds the credentials that objects of a cluster name and that cannot be read, so that their status says it before the
first call fails."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stoa.application.backends.changed_arguments import DEFAULT_ENTRY
from stoa.application.catalogue.loaded_manifest import LoadedManifest
from stoa.application.concurrency.pace import in_turns
from stoa.application.ports.credential_source import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.finding import Finding, Reason, error
from stoa.domain.operations.argument_changes import FixedBySecret
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import SecretReference, Tool
from stoa.domain.origin import ObjectOrigin, Origin

_ENTRIES: Mapping[str, tuple[str, ...]] = {
    "bearer": ("token",),
    "basic": ("username", "password"),
    "apiKey": ("apiKey",),
    "oauth2": ("clientId", "clientSecret"),
}
"""Entries of the secret, by the type of authentication. Where there are two, a reference to one entry says nothing."""


@dataclass(frozen=True, slots=True)
class _Need:
    tenant: TenantId | None
    secret: SecretReference
    entry: str
    field: str
    """The field of the manifest that names the secret."""


class MissingCredentials:
    """Tells for each load which secrets cannot be read. Only manifests in Kubernetes are looked at: there a change of a
    Secret leads to a load, while the finding of a file would stay when its secret came later."""

    def __init__(self, credentials: CredentialSource) -> None:
        self._credentials = credentials
        self._needs: dict[int, tuple[tuple[Operation, ...], Sequence[_Need]]] = {}
        """By the identity of the operations, which stays from load to load: hashing thousands of origins costs more."""

    async def findings(self, manifests: Mapping[Origin, LoadedManifest]) -> list[Finding]:
        """One for each manifest whose credentials cannot be read: the first one that is missing."""
        before, self._needs = self._needs, {}
        findings: list[Finding] = []
        async for origin, loaded in in_turns(manifests.items()):
            if not isinstance(origin, ObjectOrigin):
                continue
            key = id(loaded.operations)
            remembered = before.get(key)
            if remembered is None:
                remembered = loaded.operations, tuple(dict.fromkeys(_needs(loaded.operations, origin.kind)))
            self._needs[key] = remembered
            if remembered[1]:
                findings += self._missing(origin, remembered[1])
        return findings

    def _missing(self, origin: ObjectOrigin, needs: Iterable[_Need]) -> Iterator[Finding]:
        for need in needs:
            try:
                self._credentials.read(need.tenant, need.secret, need.entry)
            except BackendUnavailable as missing:
                yield error(str(origin), f"{need.field}: {missing.message}", origin, Reason.REFERENCE)
                return


def _needs(operations: Iterable[Operation], kind: str) -> Iterator[_Need]:
    place = "spec.toolDefaults" if kind == "ToolSet" else "spec"
    for operation in operations:
        if not operation.enabled:
            continue
        for credential in operation.authentication.entries:
            if credential.secret is None:
                continue
            entries = _ENTRIES.get(credential.type, ())
            named = credential.secret if len(entries) == 1 else SecretReference(name=credential.secret.name)
            for entry in entries:
                yield _Need(operation.tenant, named, entry, f"{place}.authentication.secretRef")
        changes = operation.argument_changes if isinstance(operation, Tool) else None
        for name, fixed in ({} if changes is None else changes.fixed).items():
            if isinstance(fixed, FixedBySecret):
                yield _Need(operation.tenant, fixed.secret, DEFAULT_ENTRY, f"spec.overrides arguments.{name}")
