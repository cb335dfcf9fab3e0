"""The API server: connection, list and watch."""

from stoa.infrastructure.kubernetes.api.cluster import Cluster
from stoa.infrastructure.kubernetes.api.connection import KubernetesConnection
from stoa.infrastructure.kubernetes.api.named_objects import NamedObjects

__all__ = ["Cluster", "KubernetesConnection", "NamedObjects"]
