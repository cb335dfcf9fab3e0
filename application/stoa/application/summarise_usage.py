"""What was called, how it went and what it cost: the report behind `stoa usage` and the console.

Reads a UsageLog from end to end, so the doors run it in a thread. A caller sees its own tenant only; a platform admin
sees every tenant, or the one it names.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from stoa.application.ports.metering import UsageLog
from stoa.domain.errors import InvalidInput
from stoa.domain.identity import Principal, TenantId
from stoa.domain.metering import CHARGED, MeteringEvent, Status
from stoa.domain.money import MicroUnits


def _day(event: MeteringEvent) -> str:
    return event.timestamp.astimezone(UTC).date().isoformat()


DIMENSIONS: dict[str, Callable[[MeteringEvent], str]] = {
    "tenant": lambda event: event.tenant,
    "tool": lambda event: event.tool,
    "consumer": lambda event: event.consumer,
    "status": lambda event: event.status.value,
    "day": _day,
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
    def __init__(self, log: UsageLog) -> None:
        self._log = log

    def execute(
        self,
        principal: Principal,
        *,
        group_by: Sequence[str] = ("tool",),
        since: datetime | None = None,
        until: datetime | None = None,
        tenant: TenantId | None = None,
    ) -> UsageSummary:
        """Usage from `since` (included) to `until` (excluded) of `tenant`, None: all that the principal may see.

        Raises InvalidInput, or MeteringUnavailable when the log cannot be read. A tenant that the principal may not
        see has the usage of one that does not exist: none.
        """
        for dimension in group_by:
            if dimension not in DIMENSIONS:
                raise InvalidInput(f"group_by: {dimension!r} is unknown; use any of {', '.join(DIMENSIONS)}")
        if len(set(group_by)) < len(group_by):
            raise InvalidInput("group_by: each dimension can be named once")
        for name, moment in (("since", since), ("until", until)):
            if moment is not None and moment.utcoffset() is None:
                raise InvalidInput(f"{name}: {moment.isoformat()} has no time zone; append Z or an offset")
        keys = [DIMENSIONS[dimension] for dimension in group_by]
        groups: defaultdict[tuple[str, ...], _Tally] = defaultdict(_Tally)
        totals = _Tally()
        for event in self._visible(principal, tenant):
            if (since is None or event.timestamp >= since) and (until is None or event.timestamp < until):
                groups[tuple(key(event) for key in keys)].add(event)
                totals.add(event)
        rows = tuple(_row(group, groups[group]) for group in sorted(groups))
        return UsageSummary(group_by=tuple(group_by), rows=rows, totals=_figures(totals))

    def _visible(self, principal: Principal, tenant: TenantId | None) -> Iterator[MeteringEvent]:
        if principal.is_platform_admin:
            return (event for event in self._log.events() if tenant is None or event.tenant == tenant)
        own = principal.tenant
        if own is None or tenant not in {None, own}:
            return iter(())  # events without a tenant are those of strangers, nobody's own
        return (event for event in self._log.events() if event.tenant == own)


class _Tally:
    """Running sums. Latencies are whole milliseconds, so counting each value keeps exact percentiles small."""

    __slots__ = ("cost", "latencies", "statuses")

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self.latencies: Counter[int] = Counter()
        self.cost = 0

    def add(self, event: MeteringEvent) -> None:
        self.statuses[event.status] += 1
        self.cost += event.cost_units
        if event.status in CHARGED:
            self.latencies[event.latency_ms] += 1

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
