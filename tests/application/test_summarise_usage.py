"""Usage reports: who sees what, and that the figures are exact."""

import statistics
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import metering_events

from stoa.application.ports import UsageLog
from stoa.application.summarise_usage import DIMENSIONS, SummariseUsage
from stoa.domain.errors import InvalidInput
from stoa.domain.identity import Principal, TenantId
from stoa.domain.metering import CHARGED, NO_TENANT, MeteringEvent, Status

ADMIN = Principal.of("root", roles=["cpi-admin"])
ACME = Principal.of("alice", tenant="acme", roles=["viewer"])
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
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


class FixedLog(UsageLog):
    def __init__(self, events: Iterable[MeteringEvent]) -> None:
        self._events = list(events)

    def events(self) -> Iterator[MeteringEvent]:
        return iter(self._events)


def event(**fields: object) -> MeteringEvent:
    base = {"event_id": "e", "timestamp": NOON, "tenant": "acme", "user_id": "u", "tool": "t", "latency_ms": 1}
    return MeteringEvent.model_validate({**base, "status": Status.SUCCESS, **fields})


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
    ],
)
def test_a_question_that_cannot_be_answered_says_what_to_change(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SummariseUsage(FixedLog([])).execute(ADMIN, **arguments)
