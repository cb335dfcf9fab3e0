"""Compares answered calls, recorded events and forwarded events: the report behind `stoa usage reconcile`.

Events are compared by 16 bytes of a digest of their `event_id`: about 110 MB for a million distinct events, in any
number of sources. Nothing else is stored, so sources with gaps are read a second time to name some of the missing
events.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from stoa.domain.metering.money import MicroUnits

NAMED = 20
"""Upper bound on the events of a gap that are named."""

_OUTBOX, _TOPIC, _ANSWERED, _WAITING = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Entry:
    """The facts of an event in one line or message."""

    event_id: str
    tenant: str
    timestamp: datetime | None = None
    cost: MicroUnits = MicroUnits(0)
    calls: int = 1
    """The number of calls that it stands for."""


@dataclass(frozen=True, slots=True)
class Source:
    """A source of entries. They may be read twice, and come in any order."""

    entries: Callable[[], Iterator[Entry]]
    unreadable: Callable[[], int] = lambda: 0
    """Entries that the last reading had to skip."""
    has_costs: bool = True


@dataclass(slots=True)
class SourceCount:
    """The contents of a source, counted."""

    entries: int = 0
    distinct: int = 0
    calls: int = 0
    """The number of calls that the distinct events stand for."""
    unreadable: int = 0
    cost: MicroUnits | None = MicroUnits(0)
    """The cost of the distinct events; None if the source has no costs."""

    @property
    def duplicates(self) -> int:
        return self.entries - self.distinct


@dataclass(slots=True)
class Gap:
    """Events that are in one source and not in another."""

    count: int = 0
    examples: list[Entry] = field(default_factory=list[Entry])
    """The first of the events, at most NAMED."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    outbox: SourceCount
    topic: SourceCount | None
    """None: the topic was not read. The same holds for `answered`."""
    answered: SourceCount | None
    unrecorded: Gap
    """Answered calls whose event is neither in the outbox nor on the topic."""
    waiting: Gap
    """Recorded events that are not on the topic, and that the relay has not reached yet."""
    missing: Gap
    """Recorded events that are not on the topic, although the relay has passed them, or its position is unknown."""
    only_on_topic: int
    """Events recorded by other machines, or archived since."""
    unanswered: int
    """Recorded events without an answered call: a crash takes the last lines of an audit log."""

    @property
    def has_gaps(self) -> bool:
        return bool(self.unrecorded.count or self.missing.count)


class ReconcileUsage:
    def execute(
        self,
        outbox: Source,
        *,
        topic: Source | None = None,
        answered: Source | None = None,
        waiting: Source | None = None,
    ) -> Reconciliation:
        """Compare the sources. `waiting`: the events of the outbox that the relay has still to forward.

        Answered calls are read first and the topic last, so that calls during the comparison leave no gap: an event is
        recorded before its call is answered, and forwarded after.
        """
        seen: dict[bytes, int] = {}
        answered_count = None if answered is None else _read(answered, _ANSWERED, seen)
        outbox_count = _read(outbox, _OUTBOX, seen)
        if waiting is not None:
            _read(waiting, _WAITING, seen)
        topic_count = None if topic is None else _read(topic, _TOPIC, seen)

        unforwarded = 0 if topic is None else _OUTBOX
        return Reconciliation(
            outbox=outbox_count,
            topic=topic_count,
            answered=answered_count,
            unrecorded=_gap(answered, seen, _ANSWERED | _OUTBOX | _TOPIC, _ANSWERED),
            waiting=_gap(waiting, seen, _OUTBOX | _TOPIC | _WAITING, unforwarded | _WAITING),
            missing=_gap(outbox, seen, _OUTBOX | _TOPIC | _WAITING, unforwarded),
            only_on_topic=sum(places & (_OUTBOX | _TOPIC) == _TOPIC for places in seen.values()),
            unanswered=0 if answered is None else sum(places & _ANSWERED == 0 for places in seen.values()),
        )


def _gap(source: Source | None, seen: dict[bytes, int], looked_at: int, places: int) -> Gap:
    """The events that are in exactly these of the compared places, named by reading `source` again."""
    gap = Gap()
    if source is None or not places & looked_at:
        return gap
    gap.count = sum(held & looked_at == places for held in seen.values())
    named: set[bytes] = set()
    for entry in source.entries() if gap.count else ():
        key = _key(entry)
        if seen.get(key, 0) & looked_at == places and key not in named:
            named.add(key)
            gap.examples.append(entry)
            if len(named) == min(NAMED, gap.count):
                break
    return gap


def _read(source: Source, place: int, seen: dict[bytes, int]) -> SourceCount:
    count, cost = SourceCount(), 0
    for entry in source.entries():
        count.entries += 1
        key = _key(entry)
        places = seen.get(key, 0)
        if not places & place:
            seen[key] = places | place
            count.distinct += 1
            count.calls += entry.calls
            cost += entry.cost
    count.unreadable = source.unreadable()
    count.cost = MicroUnits(cost) if source.has_costs else None
    return count


def _key(entry: Entry) -> bytes:
    return hashlib.blake2b(entry.event_id.encode("utf-8", "replace"), digest_size=16).digest()
