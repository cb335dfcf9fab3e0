"""Prices are exact, and who decides them is one order."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.strategies import few_tenants, instants, operations, price_lists, price_versions

from stoa.domain.access.identity import TenantId
from stoa.domain.metering.money import MICRO, MicroUnits, to_decimal
from stoa.domain.metering.price_list import DEFAULT_PRICES, PriceList, PriceVersion, Rates, RatesByOperation, Tariff
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding, Tool, ToolAnnotations

tenants = st.none() | few_tenants
latencies = st.integers(0, 10**9)
sizes = st.integers(0, 10**10)
NOW = datetime(2026, 11, 28, tzinfo=UTC)
PET = Tool(name="pet", tags=("animals", "costly"), binding=LocalBinding(function="pet"))


def said(version: PriceVersion, operation: Operation, tenant: TenantId | None, field: str) -> Iterator[Decimal | None]:
    """What each row of the table of precedence says, from the first to the last."""
    name = operation.identifier if operation.kind == "tool" else f"{operation.kind}:{operation.identifier}"
    places: list[RatesByOperation] = [version]
    if tenant in version.tenants:
        places.insert(0, version.tenants[tenant])
    for place in places:
        yield getattr(place.tools.get(name, Rates()), field)
        of_tags = [getattr(place.tags[tag], field) for tag in operation.tags if tag in place.tags]
        yield max((amount for amount in of_tags if amount is not None), default=None)
        yield getattr(place, field)
    yield getattr(DEFAULT_PRICES, field)


@given(price_versions, operations(), tenants, latencies, sizes)
def test_a_quote_is_the_exact_price_by_the_table_of_precedence_rounded_down_once(
    version, operation, tenant, latency_ms, size
):
    assume(not operation.is_by_tenant or operation.may_lower_access)

    def of(field: str) -> Fraction:
        return Fraction(next(amount for amount in said(version, operation, tenant, field) if amount is not None))

    tariff = version.tariff(operation, tenant)
    base = of("base") * (of("premium_factor") if operation.is_premium else 1)
    exact = (base + of("per_100_ms") * latency_ms / 100 + of("per_kib_out") * size / 1024) * MICRO
    quote = tariff.quote(latency_ms=latency_ms, bytes_out=size)
    assert quote == exact // 1
    assert type(quote) is int
    assert tariff.per_question == of("per_question") * MICRO
    assert tariff.counts_bytes == (of("per_kib_out") > 0)


@given(price_versions, operations(), tenants, latencies, sizes)
def test_a_quote_is_never_lower_for_the_tags_and_the_name_that_a_tenants_team_chose(
    version, operation, tenant, latency_ms, size
):
    operation = operation.model_copy(update={"is_by_tenant": True, "may_lower_access": False})
    own = version.tenants.get(tenant, RatesByOperation())
    # What a name and tags may still lower: the platform's word about this very operation of this tenant.
    known = own.model_copy(update={"tags": {}})
    unnamed = version.model_copy(update={"tags": {}, "tools": {}, "tenants": {} if tenant is None else {tenant: known}})
    quote = version.tariff(operation, tenant).quote(latency_ms=latency_ms, bytes_out=size)
    assert quote >= unnamed.tariff(operation, tenant).quote(latency_ms=latency_ms, bytes_out=size)


@pytest.mark.parametrize(
    ("rights", "base"),
    [
        ({}, "0"),
        ({"is_by_tenant": True}, "0.001"),
        ({"is_by_tenant": True, "may_lower_access": True}, "0"),
    ],
    ids=["platform", "tenant", "tenant in LOWER_ACCESS"],
)
@pytest.mark.parametrize("cheap", [{"tags": {"animals": {"base": 0}}}, {"tools": {"pet": {"base": 0}}}])
def test_a_cheaper_tag_or_name_of_the_general_list_is_for_operations_of_the_platform(cheap, rights, base):
    version = PriceVersion.model_validate({"base": "0.001", "per_100_ms": 0, **cheap})
    tool = PET.model_copy(update={"tenant": TenantId("acme"), **rights})
    assert to_decimal(version.tariff(tool, TenantId("acme")).quote(latency_ms=0)) == Decimal(base)


def test_a_tenants_own_price_for_a_name_counts_for_its_own_operation():
    version = PriceVersion.model_validate({"base": "0.001", "tenants": {"acme": {"tools": {"pet": {"base": 0}}}}})
    tool = PET.model_copy(update={"tenant": TenantId("acme"), "is_by_tenant": True})
    assert version.tariff(tool, TenantId("acme")).quote(latency_ms=0) == 0


@given(price_versions, operations(), tenants, latencies, latencies, sizes, sizes)
def test_more_time_or_more_bytes_never_cost_less(version, operation, tenant, time, more_time, size, more_size):
    quote = version.tariff(operation, tenant).quote
    least = quote(latency_ms=time, bytes_out=size)
    assert least <= quote(latency_ms=time + more_time, bytes_out=size)
    assert least <= quote(latency_ms=time, bytes_out=size + more_size)


@given(price_versions, operations(), tenants, st.floats(0.001, 300), st.data())
def test_no_call_within_its_bounds_costs_more_than_the_ceiling(version, operation, tenant, timeout_seconds, data):
    tariff = version.tariff(operation, tenant)
    most = data.draw(sizes)
    ceiling = tariff.ceiling(timeout_seconds=timeout_seconds, max_bytes_out=most)
    latency_ms = data.draw(st.integers(0, int(Fraction(timeout_seconds) * 1000)))
    assert tariff.quote(latency_ms=latency_ms, bytes_out=data.draw(st.integers(0, most))) <= ceiling


@given(price_lists, operations(), tenants, instants)
def test_the_version_in_force_is_the_last_that_has_begun(prices, operation, tenant, at):
    begun = [version for version in prices.versions[1:] if version.since <= at]
    version = begun[-1] if begun else prices.versions[0]
    assert prices.tariff(operation, tenant, at) == version.tariff(operation, tenant)


@given(price_lists, operations(), tenants)
def test_a_version_begins_exactly_at_its_instant_whatever_the_time_zone(prices, operation, tenant):
    for before, after, instant in zip(prices.versions, prices.versions[1:], prices.instants, strict=False):
        elsewhere = instant.astimezone(None)
        assert prices.tariff(operation, tenant, elsewhere) == after.tariff(operation, tenant)
        assume(before.since is None or before.since < instant)
        just_before = instant - timedelta(microseconds=1)
        assert prices.tariff(operation, tenant, just_before) == before.tariff(operation, tenant)


@pytest.mark.parametrize("annotations", [ToolAnnotations(), ToolAnnotations(destructive_hint=True)])
@pytest.mark.parametrize(("latency_ms", "cost"), [(0, "0.001"), (1, "0.001001"), (50, "0.00105"), (250, "0.00125")])
def test_the_default_prices_are_the_published_ones(annotations, latency_ms, cost):
    tool = Tool(name="pet", binding=LocalBinding(function="pet"), annotations=annotations)
    premium = Decimal("0.001") if tool.is_premium else 0
    tariff = PriceList().tariff(tool, TenantId("acme"), NOW)
    assert to_decimal(tariff.quote(latency_ms=latency_ms)) == Decimal(cost) + premium
    assert to_decimal(tariff.quote(latency_ms=latency_ms, bytes_out=10**9)) == Decimal(cost) + premium
    assert (tariff.per_question, tariff.counts_bytes) == (0, False)


def test_a_price_may_be_finer_than_what_can_be_charged():
    fine = PriceVersion(base=Decimal(0), per_100_ms=Decimal(0), per_kib_out=Decimal("0.000000000001"))
    tariff = fine.tariff(PET, None)
    assert tariff.quote(latency_ms=0, bytes_out=1024 * 999_999) == 0
    assert tariff.quote(latency_ms=0, bytes_out=1024 * 1_000_000) == 1


def test_of_several_tags_the_highest_price_counts_field_by_field():
    tags = {"animals": Rates(base=Decimal(3), per_100_ms=Decimal(1)), "costly": Rates(base=Decimal(2), per_kib_out="9")}
    tariff = PriceVersion(tags=tags).tariff(PET, None)
    assert tariff.quote(latency_ms=100, bytes_out=1024) == (3 + 1 + 9) * MICRO


@pytest.mark.parametrize(
    "amount",
    [0.1, 1.0, True, "1e400", "1e-13", "0.0000000000001", "-1", -1, "NaN", "x", "", "1_0", " 1", 10**9, 10**4000,
     Decimal("NaN"), Decimal("Infinity"), Decimal("1e-13"), [], {}],
)  # fmt: skip
def test_what_is_no_exact_amount_is_refused(amount):
    with pytest.raises(ValidationError):
        Rates(base=amount)


def test_a_question_costs_whole_micro_units_and_premium_is_no_discount():
    with pytest.raises(ValidationError, match="finer than one micro-unit"):
        Rates(per_question="0.0000001")
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Rates(premium_factor="0.5")


def test_versions_are_in_order_and_have_time_zones():
    one, other = (PriceVersion(since=NOW + timedelta(days=day)) for day in range(2))
    assert PriceList(versions=(PriceVersion(), one, other)).version_at(NOW) == 1
    for wrong, reason in (
        ((), "at least one"),
        ((other, one), r"versions\.1\.from: it must be later"),
        ((one, one), r"versions\.1\.from: it must be later"),
        ((PriceVersion(), PriceVersion()), r"versions\.1: from is missing"),
    ):
        with pytest.raises(ValidationError, match=reason):
            PriceList(versions=wrong)
    with pytest.raises(ValidationError, match="time zone is missing"):
        PriceVersion(since=NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    "amount", [0, 1, "0", "007", "0.000000000001", "1e-12", "1E+8", "999999999.999999999999", Decimal("1E8"), 10**9 - 1]
)
def test_an_amount_is_exact_as_it_was_written(amount):
    assert Rates(base=amount).base == Decimal(amount)


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        (0.5, 'write an amount such as 0.001 (in Python Decimal("0.001"), never a float)'),
        (True, 'write an amount such as 0.001 (in Python Decimal("0.001"), never a float)'),
        ([], 'write an amount such as 0.001 (in Python Decimal("0.001"), never a float)'),
        ("1_0", "write an amount such as 0.001"),
        (".5", "write an amount such as 0.001"),
        ("5.", "write an amount such as 0.001"),
        ("0." + "0" * 39, "write an amount such as 0.001"),
        ("1e9", "an amount is below 10^9, not negative, and has at most 12 decimal places"),
        (Decimal("-0.1"), "an amount is below 10^9, not negative, and has at most 12 decimal places"),
        ("1e-13", "an amount is below 10^9, not negative, and has at most 12 decimal places"),
    ],
)
def test_a_refused_amount_is_told_what_to_write(amount, message):
    with pytest.raises(ValidationError) as refused:
        Rates(base=amount)
    assert f"Value error, {message} [" in str(refused.value)


def test_an_amount_of_40_characters_is_read():
    assert Rates(base="1." + "0" * 12 + "e0").base == 1
    assert len("0" * 39 + "1") == 40
    assert Rates(base="0" * 39 + "1").base == 1


@pytest.mark.parametrize("factor", ["1", "1.5", 2])
def test_a_premium_is_never_a_discount(factor):
    assert Rates(premium_factor=factor).premium_factor == Decimal(factor)
    with pytest.raises(ValidationError):
        Rates(premium_factor="0.999999999999")


def test_a_refused_sequence_of_versions_is_told_what_to_mend():
    first, one, other = (PriceVersion(), *(PriceVersion(since=NOW + timedelta(days=day)) for day in range(2)))
    for wrong, message in (
        ((), "versions: write at least one"),
        ((first, one, first), "versions.2: from is missing; only the first version may leave it out"),
        ((first, other, one), "versions.2.from: it must be later than that of the version before"),
        ((one, one), "versions.1.from: it must be later than that of the version before"),
    ):
        with pytest.raises(ValidationError) as refused:
            PriceList(versions=wrong)
        assert f"Value error, {message} [" in str(refused.value)
    with pytest.raises(ValidationError) as refused:
        PriceVersion(since=NOW.replace(tzinfo=None))
    assert "Value error, the time zone is missing; write the instant as 2026-01-01T00:00:00Z [" in str(refused.value)
    assert PriceList(versions=(one, other)).instants == (other.since,)
    assert PriceList(versions=(first, one, other)).instants == (one.since, other.since)
    assert PriceList(versions=(first,)).instants == ()


def test_a_resource_and_a_prompt_are_priced_by_the_names_that_they_are_metered_by():
    prices = PriceVersion(
        base=Decimal(1), tools={"resource:memo://ant": Rates(base=Decimal(2)), "prompt:bee": Rates(base=Decimal(3))}
    )
    binding = LocalBinding(function="f")
    priced = [Resource(uri="memo://ant", binding=binding), Prompt(name="bee", binding=binding)]
    others = [Tool(name="bee", input_schema={"type": "object"}, binding=binding)]
    assert [prices.tariff(one, None).quote(latency_ms=0) // MICRO for one in (*priced, *others)] == [2, 3, 1]


def test_a_version_counts_from_its_instant_on():
    prices = PriceList(versions=(PriceVersion(), PriceVersion(since=NOW)))
    moments = [NOW + timedelta(microseconds=step) for step in (-1, 0, 1)]
    assert [prices.version_at(moment) for moment in moments] == [0, 1, 1]


@pytest.mark.parametrize(
    ("timeout_seconds", "milliseconds"),
    [(1, 1000), (0.25, 250), (0.0001, 1), (1.0005, 1001), (0.001, 2)],
)
def test_the_ceiling_is_the_price_of_the_whole_time_and_of_all_bytes(timeout_seconds, milliseconds):
    """A time that no whole number of milliseconds reaches is rounded up; 0.001 is a little more than 1 ms."""
    tariff = Tariff(fixed=10, per_ms=2, per_byte=3, denominator=1, per_question=MicroUnits(0))
    assert tariff.ceiling(timeout_seconds=timeout_seconds, max_bytes_out=5) == 10 + 2 * milliseconds + 15


def test_a_quote_is_rounded_down_to_a_whole_micro_unit():
    tariff = Tariff(fixed=1, per_ms=1, per_byte=1, denominator=3, per_question=MicroUnits(0))
    assert [tariff.quote(latency_ms=ms) for ms in range(6)] == [0, 0, 1, 1, 1, 2]
    assert tariff.quote(latency_ms=1, bytes_out=1) == 1
    assert Tariff(fixed=0, per_ms=0, per_byte=1, denominator=1, per_question=MicroUnits(0)).counts_bytes
    assert not Tariff(fixed=0, per_ms=0, per_byte=0, denominator=1, per_question=MicroUnits(0)).counts_bytes


def test_each_part_of_a_price_in_micro_units():
    version = PriceVersion(
        base="0.5", per_100_ms="0.25", per_kib_out="0.125", premium_factor=3, per_question="0.000002"
    )
    plain = version.tariff(PET, None)
    assert plain.quote(latency_ms=0) == 500_000
    assert plain.quote(latency_ms=100) == 750_000
    assert plain.quote(latency_ms=0, bytes_out=1024) == 625_000
    assert plain.per_question == 2
    premium = PET.model_copy(update={"annotations": ToolAnnotations(destructive_hint=True)})
    assert version.tariff(premium, None).quote(latency_ms=100) == 1_750_000


@pytest.mark.parametrize("amount", [0.5, True, [1], {"a": 1}, object()])
def test_an_amount_that_is_no_decimal_is_told_how_to_write_it(amount):
    with pytest.raises(ValidationError, match=r"write an amount such as 0\.001"):
        PriceVersion(per_question=amount)
