"""Whether everything that was answered was recorded, and everything recorded was forwarded: the comparison behind
`stoa usage reconcile`.

By `event_id`, of which 16 bytes of a digest are kept: about 110 MB for a million distinct events, however many sources
hold them. Nothing else of them is kept, so sources with gaps are read a second time to name some of what is missing.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from stoa.domain.metering.money import MicroUnits

NAMED = 20
"""Events of a gap that are named."""

_OUTBOX, _TOPIC, _ANSWERED, _WAITING = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Entry:
    """What one line or message says of an event."""

    event_id: str
    tenant: str
    timestamp: datetime | None = None
    cost: MicroUnits = MicroUnits(0)
    calls: int = 1
    """That it stands for."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where entries come from. They may be read twice, and come in any order."""

    entries: Callable[[], Iterator[Entry]]
    unreadable: Callable[[], int] = lambda: 0
    """Entries that the last reading had to skip."""
    has_costs: bool = True


@dataclass(slots=True)
class SourceCount:
    """What a source held."""

    entries: int = 0
    distinct: int = 0
    calls: int = 0
    """That the distinct events stand for."""
    unreadable: int = 0
    cost: MicroUnits | None = MicroUnits(0)
    """Of the distinct events; None where the source does not tell costs."""

    @property
    def duplicates(self) -> int:
        return self.entries - self.distinct


@dataclass(slots=True)
class Gap:
    """Events that are in one source and lack in another."""

    count: int = 0
    examples: list[Entry] = field(default_factory=list[Entry])
    """The first of them, at most NAMED."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    outbox: SourceCount
    topic: SourceCount | None
    """None: was not looked at; so with `answered`."""
    answered: SourceCount | None
    unrecorded: Gap
    """Answered, and neither in the outbox nor on the topic."""
    waiting: Gap
    """Recorded, not on the topic, and the relay has not come to them yet."""
    missing: Gap
    """Recorded, not on the topic, and the relay has passed them, or is not known to be behind."""
    only_on_topic: int
    """Recorded by other machines, or archived since."""
    unanswered: int
    """Recorded, and not among the answered: a crash takes the last lines of an audit log."""

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
        """`waiting`: those of the outbox that the relay has still to forward.

        Answered calls are read first and the topic last, so that what goes on meanwhile is no gap: an event is recorded
        before its call is answered, and forwarded after.
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
    """The events that are in just these of the places that are looked at, named by reading `source` again."""
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
