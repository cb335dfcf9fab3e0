"""Fair shares of a bounded resource: no caller and no tenant can use up what belongs to all.

There are three caps: of a caller, of a tenant, of all. A holder that meets its own cap gives way itself. When the whole
is used up, the tenant that holds most gives way to one that would hold less. So a tenant below its fair share (the
whole divided by the number of tenants that hold something) always gets room, and nothing it holds is taken for another.
"""

from collections import OrderedDict
from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from stoa.domain.access.identity import TenantId

K = TypeVar("K")


class Holder(NamedTuple):
    """The caller and tenant that a held piece counts for."""

    tenant: TenantId | None
    caller: str
    """An `identity_key`."""


class Bound(StrEnum):
    """The cap that was met."""

    CALLER = "caller"
    TENANT = "tenant"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Caps:
    """Upper bounds on what may be held, in pieces or bytes."""

    per_caller: int
    per_tenant: int
    total: int


@dataclass(frozen=True, slots=True)
class Held:
    """The amounts that are held before something is added."""

    by_caller: int
    by_tenant: int
    by_all: int
    by_largest_other: int
    """Held by the tenant that holds most, not counting the one that adds."""


def met(caps: Caps, held: Held, added: int) -> Bound | None:
    """The first cap that the addition would pass; None if it fits."""
    if added <= 0:
        return None
    if held.by_caller + added > caps.per_caller:
        return Bound.CALLER
    if held.by_tenant + added > caps.per_tenant:
        return Bound.TENANT
    return Bound.ALL if held.by_all + added > caps.total else None


def yields(held: Held, added: int) -> bool:
    """True when the whole is used up and the largest other tenant has to give way."""
    return held.by_largest_other > held.by_tenant + added


class NoRoom(Exception):  # an answer, not a failure
    def __init__(self, bound: Bound) -> None:
        super().__init__(bound.value)
        self.bound = bound


class _Group(Generic[K]):
    """The keys that one caller or one tenant holds, the least recently used first."""

    __slots__ = ("held", "keys")

    def __init__(self) -> None:
        self.keys: OrderedDict[K, None] = OrderedDict()
        self.held = 0


class FairShares(Generic[K]):
    """Accounts for what each holder holds. `evicts_own`: a holder that meets its own cap loses what it used least
    recently; with False its addition is refused. Keys that the largest tenant gives up for another are evicted in
    either case."""

    def __init__(self, caps: Caps, *, evicts_own: bool = True) -> None:
        self._caps = caps
        self._evicts_own = evicts_own
        self._entries: dict[K, tuple[Holder, int]] = {}
        self._callers: dict[Holder, _Group[K]] = {}
        self._tenants: dict[TenantId | None, _Group[K]] = {}
        self.total = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def keys(self) -> Set[K]:
        return self._entries.keys()

    def of_tenant(self, tenant: TenantId | None) -> int:
        return self._tenants[tenant].held if tenant in self._tenants else 0

    def of_caller(self, holder: Holder) -> int:
        return self._callers[holder].held if holder in self._callers else 0

    def put(self, key: K, holder: Holder, size: int = 1) -> list[K]:
        """Hold `key` for `holder`, with this size from now on. Returns the keys that gave way; they are already removed
        here. Raises NoRoom and changes nothing when there is no room."""
        added = size - (self._entries[key][1] if key in self._entries else 0)
        evicted_entries: list[tuple[K, Holder, int]] = []
        while (bound := self.met(holder, added)) is not None:
            victim = self._victim(bound, holder, added, key)
            if victim is None:  # undo, the last evicted first, so that the order of use is as before
                for evicted in reversed(evicted_entries):
                    self._add(*evicted, is_oldest=True)
                raise NoRoom(bound)
            evicted_entries.append((victim, *self._entries[victim]))
            self.remove(victim)
        self.remove(key)
        self._add(key, holder, size)
        return [evicted_key for evicted_key, _, _ in evicted_entries]

    def _add(self, key: K, holder: Holder, size: int, *, is_oldest: bool = False) -> None:
        self._entries[key] = (holder, size)
        for group in (
            self._callers.setdefault(holder, _Group()),
            self._tenants.setdefault(holder.tenant, _Group()),
        ):
            group.keys[key] = None
            group.keys.move_to_end(key, last=not is_oldest)
            group.held += size
        self.total += size

    def use(self, key: K) -> None:
        """Mark the key as the most recently used of its holder."""
        if key in self._entries:
            holder, _ = self._entries[key]
            self._callers[holder].keys.move_to_end(key)
            self._tenants[holder.tenant].keys.move_to_end(key)

    def remove(self, key: K) -> None:
        if key not in self._entries:
            return
        holder, size = self._entries.pop(key)
        self.total -= size
        caller, tenant = self._callers[holder], self._tenants[holder.tenant]
        for group in (caller, tenant):
            del group.keys[key]
            group.held -= size
        if not caller.keys:
            del self._callers[holder]
        if not tenant.keys:
            del self._tenants[holder.tenant]

    def met(self, holder: Holder, added: int) -> Bound | None:
        """The first cap that would be passed if `holder` held `added` more; None if it fits."""
        return met(self._caps, self._held(holder), added)

    def _held(self, holder: Holder, most: int = 0) -> Held:
        return Held(self.of_caller(holder), self.of_tenant(holder.tenant), self.total, most)

    def _victim(self, bound: Bound, holder: Holder, added: int, key: K) -> K | None:
        group = self._yielding(bound, holder, added)
        return None if group is None else next((held_key for held_key in group.keys if held_key != key), None)

    def _yielding(self, bound: Bound, holder: Holder, added: int) -> _Group[K] | None:
        if bound is Bound.ALL:
            others = (group for tenant, group in self._tenants.items() if tenant != holder.tenant)
            largest = max(others, key=lambda group: group.held, default=None)
            if largest is not None and yields(self._held(holder, largest.held), added):
                return largest
        if not self._evicts_own:
            return None
        return self._callers.get(holder) if bound is Bound.CALLER else self._tenants.get(holder.tenant)


Place = tuple[TenantId | None, str]
"""A Holder, or an equal plain tuple."""


class FairSlots:
    """Places for what cannot be evicted, such as running calls. A tenant takes one more while it holds fewer than are
    free: half of what the others leave stays free however many it wants, and a tenant without any gets one."""

    __slots__ = ("_callers", "_caps", "_tenants", "_total")

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._callers: dict[Place, int] = {}
        self._tenants: dict[TenantId | None, int] = {}
        self._total = 0

    def held(self, tenant: TenantId | None) -> int:
        return self._tenants.get(tenant, 0)

    def met(self, holder: Place) -> Bound | None:
        """The cap that keeps `holder` from taking a place now; None if it may."""
        if self._callers.get(holder, 0) >= self._caps.per_caller:
            return Bound.CALLER
        held, free = self._tenants.get(holder[0], 0), self._caps.total - self._total
        if held >= self._caps.per_tenant or (held and held >= free):
            return Bound.TENANT
        return None if free > 0 else Bound.ALL

    def take(self, holder: Place) -> None:
        """Take a place. Raises NoRoom. The caller has to release each place that it took."""
        caller, tenant = self._callers.get(holder, 0), self._tenants.get(holder[0], 0)
        free, caps = self._caps.total - self._total, self._caps
        if caller >= caps.per_caller or tenant >= caps.per_tenant or free <= tenant:  # every call comes here
            bound = self.met(holder)
            if bound is not None:
                raise NoRoom(bound)
        self._callers[holder] = caller + 1
        self._tenants[holder[0]] = tenant + 1
        self._total += 1

    def release(self, holder: Place) -> None:
        self._total -= 1
        if self._callers[holder] > 1:
            self._callers[holder] -= 1
        else:
            del self._callers[holder]
        if self._tenants[holder[0]] > 1:
            self._tenants[holder[0]] -= 1
        else:
            del self._tenants[holder[0]]
