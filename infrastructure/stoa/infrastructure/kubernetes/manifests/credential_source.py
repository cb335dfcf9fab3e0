"""Secrets of the cluster as credentials of tools."""

import base64
import binascii

from stoa.application.catalogue.owners import namespaces_of
from stoa.application.ports.credential_source import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference
from stoa.domain.schema.json_value import as_object, as_text
from stoa.infrastructure.kubernetes.api.named_objects import NamedObjects


class KubernetesCredentialSource(CredentialSource):
    """Reads from memory the secrets that the tool source follows: those that a manifest names, of its own namespace.
    Global tools have none here."""

    def __init__(self, secrets: NamedObjects) -> None:
        self._secrets = secrets

    def read(self, tenant: TenantId | None, reference: SecretReference, default_key: str) -> str:
        entry = reference.key or default_key
        if tenant is None:
            raise _not_usable(tenant, reference, entry, "it has no namespace")
        for namespace in namespaces_of(tenant):
            found = self._secrets.get((namespace, reference.name))
            if found is not None and found.content is not None:
                value = _decoded(as_object(found.content.get("data")).get(entry))
                if value is not None:
                    return value
                raise _not_usable(tenant, reference, entry, f"give the Secret in namespace {namespace} this entry")
            followed = self._secrets.reflector_of((namespace, reference.name))
            if followed is not None and followed.problem:
                raise _not_usable(tenant, reference, entry, followed.problem)
        raise _not_usable(tenant, reference, entry, "create the Secret in the manifest's namespace")


class SecretsNotRead(CredentialSource):
    """Stands last among the sources of a gateway that follows a cluster and may not read its Secrets: it has none, and
    its message says so to authors who made one."""

    def read(self, tenant: TenantId | None, reference: SecretReference, default_key: str) -> str:
        why = "set K8S_SECRETS_ENABLED (the chart's k8s.secrets.enabled), so that the namespace's Secret is read"
        raise _not_usable(tenant, reference, reference.key or default_key, why)


def _not_usable(tenant: TenantId | None, reference: SecretReference, entry: str, why: str) -> BackendUnavailable:
    owner = f"tenant {tenant}" if tenant is not None else "global tools"
    return BackendUnavailable(f"The secret {reference.name} (entry {entry}) of {owner} cannot be used: {why}")


def _decoded(encoded: object) -> str | None:
    """The text in base64, without the line break that an editor leaves at its end; None: it is no text."""
    if encoded is None:
        return None
    try:
        return base64.b64decode(as_text(encoded), validate=True).decode().rstrip("\r\n")
    except (binascii.Error, UnicodeDecodeError):
        return None
