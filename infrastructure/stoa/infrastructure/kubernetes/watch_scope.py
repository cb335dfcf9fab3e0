"""Which manifests of a cluster are followed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WatchScope:
    """The manifests to follow."""

    namespaces: tuple[str, ...] = ()
    """Empty: all."""
    manifests: str = ""
    """Label selector of manifests; empty: all."""
    tenants: str = ""
    """Label selector of namespaces; empty: all."""

    @property
    def needs_namespaces(self) -> bool:
        """True if the namespaces themselves are followed, for their labels and for their deletion."""
        return bool(self.tenants) or not self.namespaces
