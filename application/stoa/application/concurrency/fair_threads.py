"""Threads for functions that block, shared by the tenants whose callers call them."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from stoa.domain.access.fair_share import Caps, FairSlots, Holder
from stoa.domain.access.identity import TenantId

T = TypeVar("T")


class FairThreads:
    """A pool of `number` threads. A tenant has at most half of them and waits for its turn: its hanging functions take
    no other tenant's threads. A function cannot be stopped: its thread is free when it has ended, whether or not its
    caller still waits."""

    def __init__(self, number: int, name: str) -> None:
        self._number = number
        self._name = name
        self._slots = FairSlots(Caps(number, max(1, number // 2), number))
        self._waiting: dict[TenantId | None, deque[asyncio.Future[None]]] = {}
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, tenant: TenantId | None, function: Callable[[], T]) -> T:
        """Call the function in a thread, with the caller's context variables. Cancelling this does not stop the
        function."""
        holder = Holder(tenant, "")
        if self._waiting.get(tenant) or self._slots.met(holder) is not None:
            await self._turn(tenant)
        else:
            self._slots.take(holder)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._number, self._name)
        loop = asyncio.get_running_loop()
        try:
            future: Future[T] = self._threads.submit(copy_context().run, function)
        except RuntimeError:  # closed since
            self._released(holder)
            raise
        future.add_done_callback(lambda _: self._in_loop(loop, holder))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Begin no more functions; running ones are not stopped."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, tenant: TenantId | None) -> None:
        """Wait for a free thread. The waiter that is woken already holds its place."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(tenant, deque())
        queue.append(woken)
        try:
            await woken
        except asyncio.CancelledError:
            if woken.done() and not woken.cancelled():
                self._released(Holder(tenant, ""))
            else:
                self._forget(tenant, woken)
            raise

    def _forget(self, tenant: TenantId | None, woken: asyncio.Future[None]) -> None:
        queue = self._waiting.get(tenant)
        if queue is not None and woken in queue:
            queue.remove(woken)
            if not queue:
                del self._waiting[tenant]

    def _in_loop(self, loop: asyncio.AbstractEventLoop, holder: Holder) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._released, holder)

    def _released(self, holder: Holder) -> None:
        self._slots.release(holder)
        for tenant in sorted(self._waiting, key=self._slots.held):  # the tenant that holds least is next
            next_holder = Holder(tenant, "")
            while tenant in self._waiting and self._slots.met(next_holder) is None:
                woken = self._waiting[tenant][0]
                self._forget(tenant, woken)
                if not woken.done():
                    self._slots.take(next_holder)
                    woken.set_result(None)
