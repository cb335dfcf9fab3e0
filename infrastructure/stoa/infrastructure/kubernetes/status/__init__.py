"""The status of manifests, written by the replica that holds the lease."""

from stoa.infrastructure.kubernetes.status.call_counts import CallCounts
from stoa.infrastructure.kubernetes.status.leader_election import LeaseName
from stoa.infrastructure.kubernetes.status.shared_counts import SharedCounts
from stoa.infrastructure.kubernetes.status.status_writer import StatusWriter

__all__ = ["CallCounts", "LeaseName", "SharedCounts", "StatusWriter"]
