"""Calls, their outcomes and their cost by group: the report behind `stoa usage` and `GET /mcp/v1/usage`.

Reads a UsageLog from end to end, so the doors run it in a thread. A SegmentSumCache keeps the sums of a SegmentedLog,
so that the next report reads only what is new. A caller sees its own tenant only; a platform admin sees every tenant,
or the one it names.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from stoa.application.metering.usage_sums import (
    MAX_KEPT_GROUPS,
    Group,
    Grouping,
    GroupSum,
    Period,
    SegmentSumCache,
    UsageSums,
)
from stoa.application.ports.metering import SegmentedLog, UsageLog
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.errors import InvalidInput
from stoa.domain.metering.event import CHARGED, MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits

DIMENSIONS: dict[str, Callable[[Group], str]] = {
    "tenant": lambda group: group.tenant,
    "tool": lambda group: group.tool,
    "consumer": lambda group: group.consumer,
    "status": lambda group: group.status.value,
    "day": lambda group: date.fromordinal(group.day).isoformat(),
}
"""Names of the groupings of usage; a day is a UTC date."""

_FAILURES = frozenset({Status.ERROR, Status.TIMEOUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFigures:
    """Figures over a set of events. Latencies are those of calls that were not refused, in milliseconds."""

    calls: int
    """All invocations, refused and cancelled ones too."""
    errors: int
    """Ended as error or timeout."""
    refusals: int
    """Refused before the back end was called: limits, permissions, arguments."""
    total_latency_ms: int
    p50_latency_ms: int
    """Nearest rank, so always a latency that occurred; 0 when there is none."""
    p95_latency_ms: int
    cost: MicroUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow(UsageFigures):
    group: tuple[str, ...]
    """One value for each of the summary's `group_by`, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSummary:
    group_by: tuple[str, ...]
    rows: tuple[UsageRow, ...]
    """Sorted by group."""
    totals: UsageFigures


class SummariseUsage:
    """Sums the log, or what is new in it since the last report, and adds up the sums into rows. One report at a time;
    others wait for it."""

    def __init__(self, log: UsageLog, *, kept_groups: int = MAX_KEPT_GROUPS) -> None:
        self._log = log
        self._grouping = Grouping()
        self._turn = threading.Lock()
        self._segments = SegmentSumCache(log, self._grouping, kept_groups) if isinstance(log, SegmentedLog) else None

    def execute(
        self,
        principal: Principal,
        *,
        group_by: Sequence[str] = ("tool",),
        since: datetime | None = None,
        until: datetime | None = None,
        tenant: TenantId | None = None,
        rest: Callable[[], None] = lambda: None,
    ) -> UsageSummary:
        """Usage from `since` (included) to `until` (excluded) of `tenant`, None: all that the principal may see.

        Raises InvalidInput, or MeteringUnavailable when the log cannot be read. A tenant that the principal may not
        see has the usage of one that does not exist: none. `rest` is called every hundred microseconds or so, and may
        sleep so that other threads get their turn.
        """
        _check(group_by, since, until)
        keys = [DIMENSIONS[dimension] for dimension in group_by]
        rows: defaultdict[tuple[str, ...], _Tally] = defaultdict(_Tally)
        totals = _Tally()
        if not principal.is_platform_admin:
            own = principal.tenant  # events without a tenant are those of strangers, nobody's own
            if own is None or tenant not in {None, own}:
                return UsageSummary(group_by=tuple(group_by), rows=(), totals=_figures(totals))
            tenant = own
        with self._turn:
            for sums in self._sums(Period(since, until), rest):
                for group, summed in sums:
                    if tenant is None or group.tenant == tenant:
                        rows[tuple(key(group) for key in keys)].add(group.status, summed)
                        rest()
        for row in rows.values():
            totals.include(row)
            rest()
        return UsageSummary(
            group_by=tuple(group_by),
            rows=tuple(_row(group, rows[group]) for group in sorted(rows)),
            totals=_figures(totals),
        )

    def _sums(self, period: Period, rest: Callable[[], None]) -> Iterator[Iterable[tuple[Group, GroupSum]]]:
        if self._segments is None:
            yield self._summed(period, self._log.events(), rest)
            return
        for name, sums in self._segments.segments(rest):
            part = period.part_of(sums)
            yield self._summed(period, self._segments.events(name), rest) if part is None else part

    def _summed(
        self, period: Period, events: Iterable[MeteringEvent], rest: Callable[[], None]
    ) -> Iterable[tuple[Group, GroupSum]]:
        sums = UsageSums(self._grouping)
        sums.add(filter(period.holds, events), rest)
        return sums.groups.items()


def _check(group_by: Sequence[str], since: datetime | None, until: datetime | None) -> None:
    for dimension in group_by:
        if dimension not in DIMENSIONS:
            raise InvalidInput(f"group_by: {dimension!r} is unknown; use any of {', '.join(DIMENSIONS)}")
    if len(set(group_by)) < len(group_by):
        raise InvalidInput("group_by: each dimension can be named once")
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and moment.utcoffset() is None:
            raise InvalidInput(f"{name}: {moment.isoformat()} has no time zone; append Z or an offset")
        if moment is not None and not 1 < moment.year < date.max.year:
            raise InvalidInput(f"{name}: {moment.isoformat()} is out of range")


class _Tally:
    """Running sums of one row. Latencies are whole milliseconds, so counting each keeps exact percentiles small."""

    __slots__ = ("cost", "latencies", "statuses")

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self.latencies: Counter[int] = Counter()
        self.cost = 0

    def add(self, status: Status, summed: GroupSum) -> None:
        self.statuses[status] += summed.calls
        self.cost += summed.cost
        self.latencies.update(summed.latencies)

    def include(self, other: "_Tally") -> None:
        self.statuses.update(other.statuses)
        self.cost += other.cost
        self.latencies.update(other.latencies)

    def count(self, statuses: Iterable[Status]) -> int:
        return sum(self.statuses[status] for status in statuses)

    def percentile(self, percent: int) -> int:
        rank = -(-self.latencies.total() * percent // 100)
        for latency in sorted(self.latencies):
            rank -= self.latencies[latency]
            if rank <= 0:
                return latency
        return 0


def _figures(tally: _Tally) -> UsageFigures:
    calls = tally.statuses.total()
    return UsageFigures(
        calls=calls,
        errors=tally.count(_FAILURES),
        refusals=calls - tally.count(CHARGED) - tally.count([Status.INPUT_REQUIRED]),
        total_latency_ms=sum(latency * count for latency, count in tally.latencies.items()),
        p50_latency_ms=tally.percentile(50),
        p95_latency_ms=tally.percentile(95),
        cost=MicroUnits(tally.cost),
    )


def _row(group: tuple[str, ...], tally: _Tally) -> UsageRow:
    figures = _figures(tally)
    return UsageRow(group=group, **{name: getattr(figures, name) for name in UsageFigures.__slots__})
