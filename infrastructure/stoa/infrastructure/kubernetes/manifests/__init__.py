"""Manifests that are objects, the descriptions in ConfigMaps and the Secrets that they name."""

from stoa.infrastructure.kubernetes.manifests.credential_source import KubernetesCredentialSource, SecretsNotRead
from stoa.infrastructure.kubernetes.manifests.spec_source import KubernetesSpecSource, entry_document
from stoa.infrastructure.kubernetes.manifests.tool_source import KubernetesToolSource

__all__ = [
    "KubernetesCredentialSource",
    "KubernetesSpecSource",
    "KubernetesToolSource",
    "SecretsNotRead",
    "entry_document",
]
