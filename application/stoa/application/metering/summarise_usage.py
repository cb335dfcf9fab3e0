"""What was called, how it went and what it cost: the report behind `stoa usage` and `GET /mcp/v1/usage`.

Reads a UsageLog from end to end, so the doors run it in a thread. Of a SegmentedLog it keeps what it has summed, and
reads on from there the next time. A caller sees its own tenant only; a platform admin sees every tenant, or the one it
names.
"""

import threading
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from stoa.application.ports.metering import SegmentedLog, UsageLog
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.errors import InvalidInput
from stoa.domain.metering.event import CHARGED, NO_TENANT, NO_USER, OTHER_NAMES, UNKNOWN_NAME, MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits

_KEPT_GROUPS = 200_000
"""Groups that are kept between two reports, some 400 bytes each; segments with what would go beyond are summed anew
each time."""
_MOST_TOOLS = 50_000
_MOST_CONSUMERS = 500
"""Names of one tenant that a report tells apart: consumers name themselves, and old events hold any name of a tool."""
_MOST_NAMES = 4_000
"""Consumers of all tenants together, of which a report to an administrator may have a row each."""
_NOT_FOUND = frozenset({"tool_not_found", "resource_not_found", "prompt_not_found"})
_LONGEST_MS = 2**63
_BREATH = 8
"""Events between two calls of `rest`."""


class _Group(NamedTuple):
    """Everything that usage can be grouped by."""

    tenant: str
    tool: str
    consumer: str
    status: Status
    day: int
    """Ordinal of a UTC date."""


DIMENSIONS: dict[str, Callable[[_Group], str]] = {
    "tenant": lambda group: group.tenant,
    "tool": lambda group: group.tool,
    "consumer": lambda group: group.consumer,
    "status": lambda group: group.status.value,
    "day": lambda group: date.fromordinal(group.day).isoformat(),
}
"""What usage can be grouped by; a day is a UTC date."""

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
    """One report at a time; others wait for it."""

    def __init__(self, log: UsageLog, *, kept_groups: int = _KEPT_GROUPS) -> None:
        self._log = log
        self._kept_groups = kept_groups
        self._kept: dict[str, _Sums] = {}
        self._tools = _Names(_MOST_TOOLS, 4 * _MOST_TOOLS)
        self._consumers = _Names(_MOST_CONSUMERS, _MOST_NAMES)
        self._turn = threading.Lock()

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
            for sums in self._sums(_Period(since, until), rest):
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

    def _sums(self, period: "_Period", rest: Callable[[], None]) -> Iterator[Iterable[tuple[_Group, "_Sum"]]]:
        if not isinstance(self._log, SegmentedLog):
            sums = self._new_sums()
            sums.add(filter(period.holds, self._log.events()), rest)
            yield sums.groups.items()
            return
        names = self._log.segments()
        for gone in self._kept.keys() - set(names):
            del self._kept[gone]
        room = self._kept_groups - sum(len(sums.groups) for sums in self._kept.values())
        for name in names:
            sums = self._kept.pop(name) if name in self._kept else self._new_sums()  # what fails half-way is not kept
            room += len(sums.groups)
            reading = self._log.read_segment(name, sums.end)
            sums.add(reading.events, rest)
            sums.end = reading.end
            if len(sums.groups) <= room:
                self._kept[name] = sums
                room -= len(sums.groups)
            if period.covers(sums):
                yield sums.groups.items()
            elif period.has_whole_days:
                yield [(group, summed) for group, summed in sums.groups.items() if period.has_day(group.day)]
            elif not period.misses(sums):
                part = self._new_sums()
                part.add(filter(period.holds, self._log.read_segment(name).events), rest)
                yield part.groups.items()

    def _new_sums(self) -> "_Sums":
        return _Sums(self._tools, self._consumers)


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


def _day(moment: datetime) -> int:
    try:
        return moment.astimezone(UTC).toordinal()
    except OverflowError:  # in the first or last hours of all time
        return moment.toordinal()


class _Sum:
    """Of one group. The latencies stand in an array, which is counted at a C loop's pace."""

    __slots__ = ("calls", "cost", "latencies")

    def __init__(self) -> None:
        self.calls = 0
        self.cost = 0
        self.latencies = array("Q")


class _Sums:
    """The groups of one segment."""

    __slots__ = ("_consumers", "_tools", "end", "first", "groups", "last")

    def __init__(self, tools: "_Names", consumers: "_Names") -> None:
        self._tools = tools
        self._consumers = consumers
        self.groups: dict[_Group, _Sum] = {}
        self.end = 0
        """Where reading goes on."""
        self.first = _LATEST
        self.last = _EARLIEST

    def add(self, events: Iterable[MeteringEvent], rest: Callable[[], None]) -> None:
        for number, event in enumerate(events):
            if not number % _BREATH:
                rest()
            moment = event.timestamp
            self.first, self.last = min(self.first, moment), max(self.last, moment)
            group = self._group(event)
            summed = self.groups.get(group)
            if summed is None:
                summed = self.groups[group] = _Sum()
            summed.calls += event.calls
            summed.cost += event.cost_units
            if event.status in CHARGED and "since" not in event.metadata:  # a summary has no latency
                summed.latencies.append(min(event.latency_ms, _LONGEST_MS))

    def _group(self, event: MeteringEvent) -> _Group:
        """Of events that older versions wrote, with every name as it was sent, it is that of today's."""
        tenant, tool, consumer = event.tenant, event.tool, event.consumer
        is_summary = "since" in event.metadata
        if not is_summary and tenant == NO_TENANT and event.user_id == NO_USER:
            tool, consumer = UNKNOWN_NAME, _CONSUMER
        elif event.metadata.get("error") in _NOT_FOUND:
            tool = UNKNOWN_NAME
        tool, consumer = self._tools.of(tenant, tool), self._consumers.of(tenant, consumer)
        return _Group(tenant, tool, consumer, event.status, _day(event.timestamp))


_CONSUMER: str = MeteringEvent.model_fields["consumer"].default
"""Of calls that name none."""


class _Names:
    """A bounded number of names for each tenant, and in all: the first that come keep their own."""

    def __init__(self, each: int, most: int) -> None:
        self._each = each
        self._room = most
        self._known: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def of(self, tenant: str, name: str) -> str:
        known = self._known[tenant]
        kept = known.get(name)
        if kept is not None:
            return kept
        if len(known) >= self._each or not self._room:
            return OTHER_NAMES
        self._room -= 1
        known[name] = name
        return name


_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class _Period:
    def __init__(self, since: datetime | None, until: datetime | None) -> None:
        self._since = since
        self._until = until
        bounds = [moment.astimezone(UTC) for moment in (since, until) if moment is not None]
        self.has_whole_days = all(moment.time() == moment.min.time() for moment in bounds)
        """Both ends are midnight UTC, so that days are in it or not."""

    def holds(self, event: MeteringEvent) -> bool:
        moment = event.timestamp
        return (self._since is None or moment >= self._since) and (self._until is None or moment < self._until)

    def covers(self, sums: _Sums) -> bool:
        return (self._since is None or sums.first >= self._since) and (self._until is None or sums.last < self._until)

    def misses(self, sums: _Sums) -> bool:
        return (self._since is not None and sums.last < self._since) or (
            self._until is not None and sums.first >= self._until
        )

    def has_day(self, day: int) -> bool:
        since, until = self._since, self._until
        return (since is None or day >= since.astimezone(UTC).toordinal()) and (
            until is None or day < until.astimezone(UTC).toordinal()
        )


class _Tally:
    """Running sums of one row. Latencies are whole milliseconds, so counting each keeps exact percentiles small."""

    __slots__ = ("cost", "latencies", "statuses")

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self.latencies: Counter[int] = Counter()
        self.cost = 0

    def add(self, status: Status, summed: _Sum) -> None:
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
