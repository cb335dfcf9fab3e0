"""The scope that calling an operation needs, and the facts that a protocol fixes about its methods."""

from enum import StrEnum
from typing import NamedTuple

from stoa.domain.access.identity import SCOPE_ADMIN, SCOPE_READ, SCOPE_WRITE


class Access(StrEnum):
    """The scope that calling an operation needs; members stand from the most lenient to the strictest."""

    READ = SCOPE_READ
    WRITE = SCOPE_WRITE
    ADMIN = SCOPE_ADMIN


def strictest(*needed: Access) -> Access:
    return max(needed, key=list(Access).index)


class MethodProperties(NamedTuple):
    """Protocol facts about a call, as RFC 9110 section 9.2 has them for HTTP. Authors cannot change them."""

    access: Access
    """READ for a safe method, ADMIN for one that destroys, WRITE for any other."""
    is_idempotent: bool | None = None
    """None means that the protocol leaves it open."""


_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})


def properties_of_http_method(method: str) -> MethodProperties:
    """The common method properties of RFC 9110 section 9.2: safe methods read, DELETE destroys, any other writes; PUT
    and DELETE may be repeated."""
    if method in _SAFE_METHODS:
        return MethodProperties(Access.READ)
    access = Access.ADMIN if method == "DELETE" else Access.WRITE
    return MethodProperties(access, True if method in {"PUT", "DELETE"} else None)
