"""The catalogue in Kubernetes: manifests that are objects, descriptions in ConfigMaps, secrets, and the status of each
manifest. Needs the extra `k8s`."""

from stoa.infrastructure.kubernetes.call_counts import CallCounts
from stoa.infrastructure.kubernetes.cluster import Cluster
from stoa.infrastructure.kubernetes.connection import KubernetesConnection
from stoa.infrastructure.kubernetes.credential_source import KubernetesCredentialSource
from stoa.infrastructure.kubernetes.leader_election import LeaseName
from stoa.infrastructure.kubernetes.named_objects import NamedObjects
from stoa.infrastructure.kubernetes.spec_source import KubernetesSpecSource
from stoa.infrastructure.kubernetes.status_writer import StatusWriter
from stoa.infrastructure.kubernetes.tool_source import KubernetesToolSource, WatchScope

__all__ = [
    "CallCounts",
    "Cluster",
    "KubernetesConnection",
    "KubernetesCredentialSource",
    "KubernetesSpecSource",
    "KubernetesToolSource",
    "LeaseName",
    "NamedObjects",
    "StatusWriter",
    "WatchScope",
]
