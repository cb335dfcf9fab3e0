"""Which part of the catalogue a client is shown, and in which form, as the query of its URL says:
`/mcp?profile=faithful&tags=orders,billing&toolset=shop`.
"""

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import parse_qs

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput
from stoa.interfaces.mcp.exchange import EVERYTHING, View

PROFILES = ("portable", "faithful")
"""`portable`: input schemas as every client understands them. `faithful`: as they were declared."""


def view_of(
    default: View = EVERYTHING, *, profile: str | None = None, tags: Iterable[str] = (), toolset: str | None = None
) -> View:
    """Raises InvalidInput for an unknown profile. Several tags may share a string, with commas between them."""
    if profile is not None and profile not in PROFILES:
        raise InvalidInput(f"profile: expected {' or '.join(PROFILES)}")
    wanted = frozenset(tag.strip() for several in tags for tag in several.split(",") if tag.strip())
    is_faithful = default.is_faithful if profile is None else profile == "faithful"
    return replace(default, is_faithful=is_faithful, tags=wanted or default.tags, toolset=toolset or default.toolset)


def read_query(query: bytes, default: View = EVERYTHING) -> tuple[TenantId | None, View]:
    """The tenant and the view that a URL's query asks for; what stands there twice counts the last time. Raises
    InvalidInput for an unknown profile."""
    given = parse_qs(query.decode("latin-1"))
    tenant, profile, toolset = (given.get(name, [None])[-1] for name in ("tenant_id", "profile", "toolset"))
    view = view_of(default, profile=profile, tags=given.get("tags", ()), toolset=toolset)
    return None if tenant is None else TenantId(tenant), view
