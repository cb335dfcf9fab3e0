"""Usage reports: who sees what, and that the figures are exact."""

import statistics
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.application.metering.usage_logs import NOON, FixedLog, Segments, event
from tests.strategies import metering_events

from stoa.application.metering.summarise_usage import DIMENSIONS, SummariseUsage
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.errors import InvalidInput, MeteringUnavailable
from stoa.domain.metering.event import CHARGED, NO_TENANT, MeteringEvent, Status

ADMIN = Principal.of("root", roles=["cpi-admin"])
ACME = Principal.of("alice", tenant="acme", roles=["viewer"])
TENANTS = ("acme", "globex", NO_TENANT)
EVENTS = st.lists(
    st.builds(
        lambda event, tenant, tool, latency: event.model_copy(
            update={"tenant": tenant, "tool": tool, "latency_ms": latency}
        ),
        metering_events(),
        st.sampled_from(TENANTS),
        st.sampled_from(["pets.list", "pets.get"]),
        st.integers(0, 20),
    ),
    max_size=12,
)
GROUPINGS = st.lists(st.sampled_from(sorted(DIMENSIONS)), unique=True)


@given(EVENTS, GROUPINGS)
def test_rows_add_up_to_the_totals_and_no_event_is_in_two(events: list[MeteringEvent], group_by: list[str]) -> None:
    summary = SummariseUsage(FixedLog(events)).execute(ADMIN, group_by=group_by)
    for figure in ("calls", "errors", "refusals", "total_latency_ms", "cost"):
        assert sum(getattr(row, figure) for row in summary.rows) == getattr(summary.totals, figure)
    groups = [row.group for row in summary.rows]
    assert groups == sorted(set(groups))
    assert all(row.calls for row in summary.rows)


@given(EVENTS)
def test_totals_are_exact(events: list[MeteringEvent]) -> None:
    totals = SummariseUsage(FixedLog(events)).execute(ADMIN).totals
    assert totals.calls == len(events)
    assert totals.cost == sum(event.cost_units for event in events)
    assert totals.errors == sum(event.status in {Status.ERROR, Status.TIMEOUT} for event in events)
    assert totals.refusals == sum(event.status not in CHARGED | {Status.INPUT_REQUIRED} for event in events)
    latencies = sorted(event.latency_ms for event in events if event.status in CHARGED)
    assert totals.total_latency_ms == sum(latencies)
    if latencies:
        assert totals.p50_latency_ms == statistics.median_low(latencies)
        assert totals.p95_latency_ms in latencies
        assert sum(latency <= totals.p95_latency_ms for latency in latencies) * 100 >= 95 * len(latencies)
        assert sum(latency < totals.p95_latency_ms for latency in latencies) * 100 < 95 * len(latencies)


@given(EVENTS, st.sampled_from([None, "acme"]))
def test_a_member_sees_the_own_tenant_and_nothing_else(events: list[MeteringEvent], tenant: str | None) -> None:
    asked = None if tenant is None else TenantId(tenant)
    seen = SummariseUsage(FixedLog(events)).execute(ACME, group_by=["tenant"], tenant=asked)
    own = [event for event in events if event.tenant == "acme"]
    assert seen == SummariseUsage(FixedLog(own)).execute(ADMIN, group_by=["tenant"])


@given(EVENTS, st.sampled_from(["globex", NO_TENANT, "nowhere"]))
def test_another_tenants_usage_looks_like_that_of_one_that_does_not_exist(
    events: list[MeteringEvent], tenant: str
) -> None:
    use_case = SummariseUsage(FixedLog(events))
    assert use_case.execute(ACME, tenant=TenantId(tenant)) == SummariseUsage(FixedLog([])).execute(ACME)


@given(EVENTS, st.sampled_from([None, *TENANTS]))
def test_who_belongs_to_no_tenant_sees_no_usage(events: list[MeteringEvent], tenant: str | None) -> None:
    stranger = Principal.of("bob", roles=["tenant-admin"])
    asked = None if tenant is None else TenantId(tenant)
    assert SummariseUsage(FixedLog(events)).execute(stranger, tenant=asked).totals.calls == 0


@given(EVENTS, st.sampled_from(TENANTS))
def test_a_platform_admin_may_choose_one_tenant(events: list[MeteringEvent], tenant: str) -> None:
    admin = Principal.of("root", tenant="acme", roles=["cpi-admin"])
    chosen = SummariseUsage(FixedLog(events)).execute(admin, tenant=TenantId(tenant))
    assert chosen.totals.calls == sum(event.tenant == tenant for event in events)
    assert SummariseUsage(FixedLog(events)).execute(admin).totals.calls == len(events)


def test_since_is_included_and_until_is_not() -> None:
    hours = [event(event_id=str(hour), timestamp=NOON + timedelta(hours=hour)) for hour in range(4)]
    use_case = SummariseUsage(FixedLog(hours))
    berlin = timezone(timedelta(hours=1))
    since, until = (NOON + timedelta(hours=1)).astimezone(berlin), (NOON + timedelta(hours=3)).astimezone(berlin)
    assert use_case.execute(ADMIN, since=since, until=until).totals.calls == 2


def test_a_day_is_a_utc_date_whatever_the_offset_of_the_event() -> None:
    late = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    (row,) = SummariseUsage(FixedLog([event(timestamp=late)])).execute(ADMIN, group_by=["day", "tool"]).rows
    assert row.group == ("2026-03-02", "t")


def test_refused_calls_do_not_flatter_the_latency() -> None:
    events = [event(latency_ms=100), *(event(latency_ms=0, status=Status.RATE_LIMITED) for _ in range(9))]
    totals = SummariseUsage(FixedLog(events)).execute(ADMIN).totals
    assert (totals.calls, totals.refusals, totals.p50_latency_ms) == (10, 9, 100)


def test_without_grouping_there_is_one_row() -> None:
    summary = SummariseUsage(FixedLog([event(), event()])).execute(ADMIN, group_by=[])
    assert [(row.group, row.calls) for row in summary.rows] == [((), 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group_by": ["colour"]}, "'colour' is unknown; use any of tenant, tool"),
        ({"group_by": ["tool", "tool"]}, "once"),
        ({"since": datetime(2026, 1, 1)}, "since: .* no time zone"),  # noqa: DTZ001
        ({"until": datetime(2026, 1, 1)}, "until: .* no time zone"),  # noqa: DTZ001
        ({"since": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, "since: .* out of range"),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_to_change(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SummariseUsage(FixedLog([])).execute(ADMIN, **arguments)


MOMENTS = st.integers(0, 20).map(lambda steps: NOON + timedelta(hours=6 * steps))
PERIODS = st.tuples(st.none() | MOMENTS, st.none() | MOMENTS)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 3), EVENTS, MOMENTS),
        st.tuples(st.just("lose"), st.integers(0, 3)),
        st.tuples(st.just("ask"), PERIODS, GROUPINGS, st.sampled_from([ADMIN, ACME])),
    ),
    max_size=12,
)


@pytest.mark.parametrize("kept_groups", [0, 3, 1000])
@given(changes=CHANGES)
def test_what_is_kept_between_reports_changes_none_of_them(kept_groups: int, changes: list[tuple[Any, ...]]) -> None:
    log = Segments()
    incremental = SummariseUsage(log, kept_groups=kept_groups)
    names: dict[int, str] = {}
    for number, change in enumerate(changes):
        match change:
            case ("add", place, events, moment):
                name = names.setdefault(place, f"{number}")
                spread = [
                    one.model_copy(update={"timestamp": moment + timedelta(hours=n)}) for n, one in enumerate(events)
                ]
                log.held.setdefault(name, []).extend(spread)
            case ("lose", place):
                log.held.pop(names.pop(place, ""), None)
            case (_, (since, until), group_by, principal):
                options = {"group_by": group_by, "since": since, "until": until}
                plain = SummariseUsage(FixedLog(log.events())).execute(principal, **options)
                assert incremental.execute(principal, **options) == plain


def test_what_was_summed_is_not_read_again() -> None:
    log = Segments()
    log.held = {name: [event(latency_ms=n) for n in range(10)] for name in "ab"}
    use_case = SummariseUsage(log)
    assert use_case.execute(ADMIN).totals.calls == 20
    log.held["b"].append(event())
    log.held["c"] = [event()]
    assert use_case.execute(ADMIN, since=NOON - timedelta(hours=1)).totals.calls == 22
    assert log.parsed == 22


def test_a_period_of_whole_days_needs_no_second_reading() -> None:
    log = Segments()
    log.held = {"a": [event(timestamp=NOON + timedelta(days=day)) for day in range(5)]}
    use_case = SummariseUsage(log)
    midnight = NOON.replace(hour=0)
    for days in range(5):
        assert use_case.execute(ADMIN, until=midnight + timedelta(days=days)).totals.calls == days
    assert log.parsed == 5


def test_a_reading_that_failed_half_way_is_begun_anew() -> None:
    log = Segments()
    log.held = {"a": [event(), event()]}
    use_case = SummariseUsage(log)
    use_case.execute(ADMIN)
    log.held["a"].append(event())
    log.failing = True
    with pytest.raises(MeteringUnavailable):
        use_case.execute(ADMIN)
    log.failing = False
    assert use_case.execute(ADMIN).totals.calls == 3


def test_who_may_see_nothing_costs_no_reading() -> None:
    log = Segments()
    log.held = {"a": [event()]}
    SummariseUsage(log).execute(Principal.of("bob"))
    assert log.parsed == 0


def test_others_get_their_turn_while_a_report_is_made() -> None:
    log = Segments()
    log.held = {"a": [event(latency_ms=n) for n in range(100)]}
    rests: list[int] = []
    SummariseUsage(log).execute(ADMIN, rest=lambda: rests.append(log.parsed))
    assert all(later - earlier <= 8 for earlier, later in pairwise(rests))
    assert rests[-1] == 100


def test_latencies_and_times_beyond_all_bounds_are_summed() -> None:
    extremes = [
        event(latency_ms=2**70),
        event(timestamp=datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))),
        event(timestamp=datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))),
    ]
    summary = SummariseUsage(FixedLog(extremes)).execute(ADMIN, group_by=["day"])
    assert [row.group for row in summary.rows] == [("0001-01-01",), ("2026-03-01",), ("9999-12-31",)]


def test_names_in_events_of_older_versions_that_were_not_found_are_one_row() -> None:
    strangers = (
        event(tenant="-", user_id="-", tool=f"odd {number}", consumer=f"c {number}", status="unauthorized")
        for number in range(5200)
    )
    unknown = (
        event(tool=f"odd {number}", status="invalid", metadata={"error": "tool_not_found"}) for number in range(5200)
    )
    summary = SummariseUsage(FixedLog([*strangers, *unknown])).execute(ADMIN, group_by=("tenant", "tool", "consumer"))
    assert [(*row.group, row.calls) for row in summary.rows] == [
        ("-", "(unknown)", "unknown", 5200), ("acme", "(unknown)", "unknown", 5200),
    ]  # fmt: skip


def test_names_of_consumers_beyond_a_few_are_others_for_each_tenant() -> None:
    events = [event(tenant=tenant, consumer=f"c{number:04}") for tenant in ("acme", "beta") for number in range(700)]
    summary = SummariseUsage(FixedLog(events)).execute(ADMIN, group_by=("tenant", "consumer"))
    assert summary.totals.calls == 1400
    assert len(summary.rows) == 2 * 501
    assert [(*row.group, row.calls) for row in summary.rows if row.group[1] == "(other)"] == [
        ("acme", "(other)", 200), ("beta", "(other)", 200),
    ]  # fmt: skip


def test_a_summary_of_refused_calls_counts_as_all_of_them_and_has_no_latency() -> None:
    events = [
        event(latency_ms=7),
        event(status="rate_limited", calls=40, metadata={"since": "2026-03-01T00:00:00Z"}),
        event(status="error", calls=2, metadata={"since": "2026-03-01T00:00:00Z"}),
    ]
    totals = SummariseUsage(FixedLog(events)).execute(ADMIN).totals
    assert (totals.calls, totals.refusals, totals.errors, totals.p50_latency_ms) == (43, 40, 2, 7)
