"""Cached tariffs: a price list is searched once for each operation and tenant, not at each call."""

from bisect import bisect_right
from datetime import datetime

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.domain.access.identity import TenantId
from stoa.domain.metering.price_list import PriceList, Tariff
from stoa.domain.operations.operation import Operation

CAPACITY = 10_000

_Remembered = BoundedCache[tuple[int, TenantId | None], tuple[Operation, Tariff]]


class Pricing:
    """Computes tariffs and caches them. `capacity`: tariffs per version of the prices; beyond that all are dropped."""

    def __init__(self, prices: PriceList, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self.replace(prices)

    def replace(self, prices: PriceList) -> None:
        """Use these prices from now on. A call in progress is charged no more than was reserved for it."""
        self._prices = prices
        self._instants = prices.instants
        # By the object, which is kept with its tariff so that no other gets its id: comparing operations costs more
        # than pricing them.
        self._remembered: tuple[_Remembered, ...] = tuple(BoundedCache(self._capacity) for _ in prices.versions)

    def tariff(self, operation: Operation, tenant: TenantId | None, at: datetime) -> Tariff:
        """The tariff of `operation` for a caller of `tenant` when the call finishes at `at`, which has a time zone."""
        number = bisect_right(self._instants, at) if self._instants else 0
        remembered = self._remembered[number]
        key = (id(operation), tenant)
        cached = remembered.get(key)
        if cached is not None:
            return cached[1]
        tariff = self._prices.versions[number].tariff(operation, tenant)
        remembered.put(key, (operation, tariff))
        return tariff
