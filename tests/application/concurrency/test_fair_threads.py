"""Functions that block take no other tenant's threads."""

import asyncio
import contextvars
import threading
from functools import partial

import pytest

from stoa.application.concurrency.fair_threads import FairThreads
from stoa.domain.access.identity import TenantId

EVIL, ACME = TenantId("evil"), TenantId("acme")


async def test_fair_threads_of_one_tenant_that_hang_leave_others_theirs() -> None:
    threads, go_on = FairThreads(4, "test"), threading.Event()
    hanging = [asyncio.create_task(threads.run(EVIL, partial(go_on.wait, 20))) for _ in range(10)]
    await asyncio.sleep(0)
    assert await threads.run(ACME, lambda: "done") == "done"
    assert await threads.run(None, lambda: "done") == "done"
    go_on.set()
    assert await asyncio.gather(*hanging) == [True] * 10
    threads.close()


async def test_fair_threads_are_taken_until_the_function_ends_whoever_waits_for_it() -> None:
    threads, go_on = FairThreads(2, "test"), threading.Event()
    hanging = asyncio.create_task(threads.run(EVIL, partial(go_on.wait, 20)))
    waiting = [asyncio.create_task(threads.run(EVIL, lambda: 1)) for _ in range(2)]
    await asyncio.sleep(0)
    for task in (hanging, waiting[0]):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not waiting[1].done()
    go_on.set()
    assert await waiting[1] == 1
    threads.close()


async def test_fair_threads_keep_context_variables_and_errors() -> None:
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(5)
    threads = FairThreads(1, "test")
    assert await threads.run(None, variable.get) == 5
    with pytest.raises(ZeroDivisionError):
        await threads.run(None, lambda: 1 // 0)
    assert await threads.run(ACME, lambda: 1) == 1, "its thread was given back"
    threads.close()
    with pytest.raises(RuntimeError):
        await threads.run(None, variable.get)
