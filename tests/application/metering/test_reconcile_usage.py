"""Reconciliation: what is missing where, counted exactly."""

from collections import Counter
from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from stoa.application.metering.reconcile_usage import NAMED, Entry, ReconcileUsage, Source
from stoa.domain.metering.money import MicroUnits

IDS = st.lists(st.sampled_from([f"e-{number}" for number in range(12)]), max_size=20)


def source(ids: Sequence[str], *, unreadable: int = 0, has_costs: bool = True) -> Source:
    def entries() -> Iterator[Entry]:
        return (Entry(event_id, "acme", cost=MicroUnits(len(event_id))) for event_id in ids)

    return Source(entries, lambda: unreadable, has_costs=has_costs)


@given(answered=st.none() | IDS, outbox=IDS, topic=st.none() | IDS, data=st.data())
def test_every_event_is_in_the_one_place_that_it_belongs_to(
    answered: list[str] | None, outbox: list[str], topic: list[str] | None, data: st.DataObject
) -> None:
    waiting = data.draw(st.none() | st.lists(st.sampled_from(outbox or ["none"]), max_size=5)) if outbox else None
    found = ReconcileUsage().execute(
        source(outbox),
        topic=None if topic is None else source(topic),
        answered=None if answered is None else source(answered, has_costs=False),
        waiting=None if waiting is None else source(waiting),
    )
    recorded, forwarded, told, behind = set(outbox), set(topic or ()), set(answered or ()), set(waiting or ())
    unforwarded = set[str]() if topic is None else recorded - forwarded
    for gap, expected in (
        (found.unrecorded, told - recorded - forwarded),
        (found.waiting, unforwarded & behind),
        (found.missing, unforwarded - behind),
    ):
        assert gap.count == len(expected)
        assert {entry.event_id for entry in gap.examples} == expected
        assert len(gap.examples) == len(expected)
    assert found.only_on_topic == len(forwarded - recorded)
    assert found.unanswered == (0 if answered is None else len((recorded | forwarded) - told))
    assert found.has_gaps == bool((told - recorded - forwarded) or (unforwarded - behind))


@given(IDS, IDS)
def test_duplicates_and_costs_are_those_of_each_source(outbox: list[str], topic: list[str]) -> None:
    found = ReconcileUsage().execute(source(outbox, unreadable=3), topic=source(topic))
    assert found.topic is not None
    for count, ids in ((found.outbox, outbox), (found.topic, topic)):
        assert (count.entries, count.distinct) == (len(ids), len(set(ids)))
        assert count.duplicates == sum(times - 1 for times in Counter(ids).values())
        assert count.cost == sum(len(event_id) for event_id in set(ids))
    assert (found.outbox.unreadable, found.topic.unreadable) == (3, 0)


def test_a_source_that_tells_no_costs_has_none() -> None:
    found = ReconcileUsage().execute(source(["a"]), answered=source(["a"], has_costs=False))
    assert found.answered is not None
    assert found.answered.cost is None


def test_of_a_large_gap_the_first_are_named() -> None:
    ids = [str(number) for number in range(100)]
    found = ReconcileUsage().execute(source(ids), topic=source([]))
    assert found.missing.count == 100
    assert [entry.event_id for entry in found.missing.examples] == ids[:NAMED]


def test_what_is_answered_recorded_and_forwarded_meanwhile_is_no_gap() -> None:
    """Each source is read when it already holds more than the one before."""
    going_on: list[str] = ["0"]

    def growing(name: str) -> Source:
        def entries() -> Iterator[Entry]:
            going_on.append(name)
            return iter([Entry(event_id, "acme") for event_id in going_on])

        return Source(entries)

    found = ReconcileUsage().execute(growing("o"), topic=growing("t"), answered=growing("a"))
    assert not found.has_gaps
