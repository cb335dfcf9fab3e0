"""The part of the catalogue that a client is shown and the form of its schemas, chosen by the query of its URL
(`/mcp?profile=faithful&tags=orders,billing&toolset=shop`) or by the options of `stoa stdio`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput

PROFILES = ("portable", "faithful")
"""`portable`: input schemas as every client understands them. `faithful`: as they were declared."""


@dataclass(frozen=True, slots=True)
class View:
    """The part of the catalogue that a client is shown, and the form of its schemas, as the client chose. A view is no
    permission: a tool outside of it can be called by every caller who may call it."""

    is_faithful: bool = False
    """Input schemas as declared, not reduced to what every client understands."""
    tags: frozenset[str] = frozenset()
    """Tools with at least one of these; empty: all."""
    toolset: str | None = None
    """Tools of this ToolSet."""


EVERYTHING = View()


def view_of(
    default: View = EVERYTHING, *, profile: str | None = None, tags: Iterable[str] = (), toolset: str | None = None
) -> View:
    """The view of these choices, with `default` for those that are not made. One string of `tags` may hold several,
    separated by commas. Raises InvalidInput for an unknown profile."""
    if profile is not None and profile not in PROFILES:
        raise InvalidInput(f"profile: expected {' or '.join(PROFILES)}")
    wanted = frozenset(tag.strip() for several in tags for tag in several.split(",") if tag.strip())
    is_faithful = default.is_faithful if profile is None else profile == "faithful"
    return replace(default, is_faithful=is_faithful, tags=wanted or default.tags, toolset=toolset or default.toolset)


def read_query(query: bytes, default: View = EVERYTHING) -> tuple[TenantId | None, View]:
    """The tenant and the view that a URL's query asks for. Of a repeated parameter the last one counts. Raises
    InvalidInput for an unknown profile."""
    given = parse_qs(query.decode("latin-1"))
    tenant, profile, toolset = (given.get(name, [None])[-1] for name in ("tenant_id", "profile", "toolset"))
    view = view_of(default, profile=profile, tags=given.get("tags", ()), toolset=toolset)
    return None if tenant is None else TenantId(tenant), view
