"""OutboxMeteringSink keeps metering events in segments on the local disk, where the relay and the reports read them.

It has three pools of segments, each within a bound of its own: calls, refused calls, and the summaries that stand for
many refused calls. However many calls are refused, one that is made finds the same room. The sink deletes only segments
whose events are all elsewhere, and those only when it needs the room.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Literal

from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.metering import MeteringSink
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.outbox.event_line import MAX_LINE_BYTES, encode
from stoa.infrastructure.outbox.group_commit import GroupCommit
from stoa.infrastructure.outbox.pool import PoolOptions, Relayed, SegmentFactory, SegmentPool
from stoa.infrastructure.outbox.room import Allowance, divide_room
from stoa.infrastructure.outbox.segment import CALLS, REFUSALS, SUMMARIES, Segment

_NEARLY_FULL = 0.8


class OutboxMeteringSink(MeteringSink, HealthProbe):
    """One per process (make it after forking), any number of processes per directory.

    `durability` "process": a recorded event survives the death of this process; a power loss may take the last seconds.
    "fsync": it survives a power loss as well; concurrent records share one wait for the disk.
    `max_total_bytes` bounds what calls that are made take of the directory; refused calls get `max_refusal_bytes` in
    addition, a quarter of it for their summaries. Processes that allocate in the same moment may each pass a bound by
    one segment. `relayed`: what may be deleted to stay below them, the oldest first; None: nothing. Raises ValueError
    for bounds in which events do not fit.
    """

    name = "metering"

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        segment_bytes: int = 8 * 1024 * 1024,
        max_total_bytes: int = 1024 * 1024 * 1024,
        max_refusal_bytes: int = 128 * 1024 * 1024,
        durability: Literal["process", "fsync"] = "process",
        relayed: Relayed | None = None,
        create_segment: SegmentFactory = Segment.create,
    ) -> None:
        allowances = divide_room(segment_bytes, max_total_bytes, max_refusal_bytes, MAX_LINE_BYTES)
        self._directory = directory
        self._max_total_bytes = max_total_bytes
        self._has_relay = relayed is not None
        self._commits = GroupCommit() if durability == "fsync" else None

        def pool(suffix: str, allowance: Allowance, setting: str) -> SegmentPool:
            options = PoolOptions(
                directory=directory,
                suffix=suffix,
                allowance=allowance,
                setting=f"{setting} (METERING_MAX_BYTES)",
                has_poison=suffix == CALLS,
                relayed=relayed,
                create_segment=create_segment,
            )
            return SegmentPool(options, clock, self._commits)

        self._calls = pool(CALLS, allowances.calls, "max_total_bytes")
        self._refusals = pool(REFUSALS, allowances.refusals, "max_refusal_bytes")
        self._summaries = pool(SUMMARIES, allowances.summaries, "max_refusal_bytes")
        with suppress(MeteringUnavailable):  # `health` and `reserve` tell; an embedding program starts anyway
            self._calls.make_room()

    def reserve(self) -> None:
        if not self._calls.room.promise():
            self._calls.reserve()

    async def record(self, event: MeteringEvent, *, is_reserved: bool = True) -> None:
        segment = self._calls.append(encode(event), is_reserved=is_reserved)
        if self._commits is not None:
            await self._commit(self._commits, self._calls, segment)

    async def record_refusal(self, event: MeteringEvent, *, is_summary: bool = False) -> None:
        pool = self._summaries if is_summary else self._refusals
        segment = pool.append(encode(event), is_reserved=False)
        if self._commits is not None:
            await self._commit(self._commits, pool, segment)

    def health(self) -> Health:
        for pool in (self._calls, self._refusals, self._summaries):
            if pool.is_gone:  # noticed also while nobody calls
                with suppress(RuntimeError):
                    asyncio.get_running_loop().call_soon(pool.try_again)
        census, bound = self._calls.census, self._max_total_bytes
        detail = f"{self._directory}: {census.segments} segments, {census.used_bytes} bytes of at most {bound}"
        if self._calls.problem and not self._calls.has_room:
            # Out of rotation no call would come and find that there is room again, so the question itself starts a try.
            with suppress(RuntimeError):
                asyncio.get_running_loop().call_soon(self._calls.try_again)
            return Health(False, self._calls.problem)
        return Health(True, detail, self._findings(detail))

    def _findings(self, detail: str) -> tuple[str, ...]:
        remedy = "most of it was not relayed yet" if self._has_relay else "archive and remove old segments soon"
        pools = (self._calls, self._refusals, self._summaries)
        findings = [text for pool in pools for text in (pool.problem, pool.loss) if text]
        if not self._calls.problem and self._calls.census.kept_bytes > self._max_total_bytes * _NEARLY_FULL:
            findings.append(f"{detail}; {remedy}")
        return tuple(findings)

    async def close(self) -> None:
        """Give unused space back. Called after the last `record`; later ones are refused."""
        for pool in (self._calls, self._refusals, self._summaries):
            pool.close()
        if self._commits is not None:
            with suppress(OSError):  # its records have been told
                await self._commits.run()

    async def _commit(self, commits: GroupCommit, pool: SegmentPool, segment: Segment) -> None:
        try:
            await commits.cover(segment)
        except OSError as failure:
            # A line that may not be on the disk must not be followed by one that is believed to be.
            pool.abandon(segment)
            raise pool.failed(failure) from failure
