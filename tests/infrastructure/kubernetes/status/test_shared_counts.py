"""Calls that other replicas counted."""

import asyncio

from tests.infrastructure.kubernetes.timing import ManualTime

from stoa.application.memory.message_bus import InMemoryMessageBus
from stoa.domain.origin import ObjectOrigin
from stoa.infrastructure.kubernetes.status import CallCounts, SharedCounts
from stoa.infrastructure.kubernetes.status.call_counts import Calls
from stoa.infrastructure.kubernetes.status.shared_counts import SHARE_SECONDS

ANT = ObjectOrigin("Tool", "acme", "ant")


async def test_counts_of_a_follower_go_to_the_leader_once():
    bus, time = InMemoryMessageBus(), ManualTime()
    leader, follower, other = CallCounts(), CallCounts(), CallCounts()
    parts = [
        SharedCounts(leader, bus, lambda: True, sleep=time.sleeper()),
        SharedCounts(follower, bus, lambda: False, sleep=time.sleeper()),
        SharedCounts(other, bus, lambda: False, sleep=time.sleeper()),
    ]
    tasks = [asyncio.create_task(part.run()) for part in parts]
    for _ in range(10):
        await asyncio.sleep(0)
    leader.add(ANT, Calls(1, 0))
    follower.add(ANT, Calls(3, 1))
    for _ in range(2):
        await time.advance(SHARE_SECONDS)
        for _ in range(10):
            await asyncio.sleep(0)
    assert leader.pending(ANT) == Calls(4, 1)
    assert follower.pending(ANT) == other.pending(ANT) == Calls()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
