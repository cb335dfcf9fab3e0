"""Where the gateway may connect to: one set of rules for API descriptions, identity providers and back ends. Shared by
the adapter families; no family itself."""

from stoa.infrastructure.outbound.rules import ANYWHERE, PUBLIC_ONLY, ForbiddenAddress, OutboundRules

__all__ = ["ANYWHERE", "PUBLIC_ONLY", "ForbiddenAddress", "OutboundRules"]
