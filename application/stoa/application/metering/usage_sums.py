"""Usage summed by segment of the log, so that a report reads on from where the one before it ended.

A SegmentSumCache keeps the sums of segments within a bound on groups, not on events: a segment of a hundred thousand
events has a few hundred groups. A Period picks from the sums what a report is about.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from stoa.application.ports.metering import SegmentedLog
from stoa.domain.metering.event import CHARGED, NO_TENANT, NO_USER, OTHER_NAMES, UNKNOWN_NAME, MeteringEvent, Status

MAX_KEPT_GROUPS = 200_000
"""Groups kept between two reports, some 400 bytes each; segments that would pass it are summed anew each time."""
_MOST_TOOLS = 50_000
_MOST_CONSUMERS = 500
"""Names of one tenant that a report tells apart: consumers name themselves, and old events hold any name of a tool."""
_MOST_NAMES = 4_000
"""Bound on the consumers of all tenants together: a report to an administrator may have a row for each."""
_NOT_FOUND = frozenset({"tool_not_found", "resource_not_found", "prompt_not_found"})
_LONGEST_MS = 2**63
_BREATH = 8
"""Events between two calls of `rest`."""


_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Group(NamedTuple):
    """Everything that usage can be grouped by."""

    tenant: str
    tool: str
    consumer: str
    status: Status
    day: int
    """Ordinal of a UTC date."""


class GroupSum:
    """The sum over the events of one group. The latencies stand in an array, which is counted at a C loop's pace."""

    __slots__ = ("calls", "cost", "latencies")

    def __init__(self) -> None:
        self.calls = 0
        self.cost = 0
        self.latencies = array("Q")


class Grouping:
    """Says which group an event belongs to, with a bounded number of names over all events that it is asked about."""

    def __init__(self) -> None:
        self._tools = _Names(_MOST_TOOLS, 4 * _MOST_TOOLS)
        self._consumers = _Names(_MOST_CONSUMERS, _MOST_NAMES)

    def group(self, event: MeteringEvent) -> Group:
        tenant, tool, consumer = event.tenant, event.tool, event.consumer
        # Older versions wrote every name as it was sent; their events get the placeholders that events have now.
        is_summary = "since" in event.metadata
        if not is_summary and tenant == NO_TENANT and event.user_id == NO_USER:
            tool, consumer = UNKNOWN_NAME, _CONSUMER
        elif event.metadata.get("error") in _NOT_FOUND:
            tool = UNKNOWN_NAME
        tool, consumer = self._tools.of(tenant, tool), self._consumers.of(tenant, consumer)
        return Group(tenant, tool, consumer, event.status, _day(event.timestamp))


class UsageSums:
    """The sums of one segment, or of any other run of events."""

    __slots__ = ("_grouping", "end", "first", "groups", "last")

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self.groups: dict[Group, GroupSum] = {}
        self.end = 0
        """Offset in the segment up to which its events are in the sums."""
        self.first = _LATEST
        """Time of the earliest event in them; `last` that of the latest."""
        self.last = _EARLIEST

    def add(self, events: Iterable[MeteringEvent], rest: Callable[[], None]) -> None:
        for number, event in enumerate(events):
            if not number % _BREATH:
                rest()
            moment = event.timestamp
            self.first, self.last = min(self.first, moment), max(self.last, moment)
            group = self._grouping.group(event)
            summed = self.groups.get(group)
            if summed is None:
                summed = self.groups[group] = GroupSum()
            summed.calls += event.calls
            summed.cost += event.cost_units
            if event.status in CHARGED and "since" not in event.metadata:  # a summary has no latency
                summed.latencies.append(min(event.latency_ms, _LONGEST_MS))


class SegmentSumCache:
    """Sums of a log by segment, of which at most `max_groups` groups are kept in all. The segments that come first are
    kept: they are sealed and never read again, while later ones still grow. Not for use by two threads at a time."""

    def __init__(self, log: SegmentedLog, grouping: Grouping, max_groups: int) -> None:
        self._log = log
        self._grouping = grouping
        self._kept: dict[str, UsageSums] = {}
        self._free_groups = max_groups
        """How many groups may be kept in addition to those in `_kept`."""

    def __len__(self) -> int:
        """How many groups are kept."""
        return sum(len(sums.groups) for sums in self._kept.values())

    def segments(self, rest: Callable[[], None]) -> Iterator[tuple[str, UsageSums]]:
        """Name and sums of each segment that there is now, read up to its end. Raises MeteringUnavailable."""
        names = self._log.segments()
        for gone in self._kept.keys() - set(names):
            self._taken(gone)
        for name in names:
            # Taken out while it is added to: sums that a failed reading left half-way must not be kept.
            sums = self._taken(name)
            reading = self._log.read_segment(name, sums.end)
            sums.add(reading.events, rest)
            sums.end = reading.end
            if len(sums.groups) <= self._free_groups:
                self._kept[name] = sums
                self._free_groups -= len(sums.groups)
            yield name, sums

    def events(self, name: str) -> Iterable[MeteringEvent]:
        """All events of a segment, read again. Raises MeteringUnavailable."""
        return self._log.read_segment(name).events

    def _taken(self, name: str) -> UsageSums:
        sums = self._kept.pop(name, None)
        if sums is None:
            return UsageSums(self._grouping)
        self._free_groups += len(sums.groups)
        return sums


_CONSUMER: str = MeteringEvent.model_fields["consumer"].default
"""What an event has where its call named no consumer."""


class _Names:
    """A bounded number of names for each tenant, and in all: the first that come keep their own."""

    def __init__(self, each: int, most: int) -> None:
        self._each = each
        self._room = most
        self._names: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def of(self, tenant: str, name: str) -> str:
        names = self._names[tenant]
        known_name = names.get(name)
        if known_name is not None:
            return known_name  # one string for all events: kept groups share it
        if len(names) >= self._each or not self._room:
            return OTHER_NAMES
        self._room -= 1
        names[name] = name
        return name


class Period:
    """The time that a report is about, from `since` (included) to `until` (excluded); None: without an end there."""

    def __init__(self, since: datetime | None, until: datetime | None) -> None:
        self._since = since
        self._until = until
        bounds = [moment.astimezone(UTC) for moment in (since, until) if moment is not None]
        self._has_whole_days = all(moment.time() == moment.min.time() for moment in bounds)
        """Both ends are midnight UTC, so that days are in it or not."""

    def holds(self, event: MeteringEvent) -> bool:
        moment = event.timestamp
        return (self._since is None or moment >= self._since) and (self._until is None or moment < self._until)

    def part_of(self, sums: UsageSums) -> Iterable[tuple[Group, GroupSum]] | None:
        """What of the sums lies in the period; None: sums do not tell, the events have to be read."""
        if self._covers(sums):
            return sums.groups.items()
        if self._has_whole_days:
            return [(group, summed) for group, summed in sums.groups.items() if self._has_day(group.day)]
        return () if self._misses(sums) else None

    def _covers(self, sums: UsageSums) -> bool:
        return (self._since is None or sums.first >= self._since) and (self._until is None or sums.last < self._until)

    def _misses(self, sums: UsageSums) -> bool:
        return (self._since is not None and sums.last < self._since) or (
            self._until is not None and sums.first >= self._until
        )

    def _has_day(self, day: int) -> bool:
        since, until = self._since, self._until
        return (since is None or day >= since.astimezone(UTC).toordinal()) and (
            until is None or day < until.astimezone(UTC).toordinal()
        )


def _day(moment: datetime) -> int:
    try:
        return moment.astimezone(UTC).toordinal()
    except OverflowError:  # in the first or last hours of all time
        return moment.toordinal()
