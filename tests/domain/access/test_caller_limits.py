"""Which limits count for a caller."""

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import few_tenants, principals, rate_limits, roles, unicode_text

from stoa.domain.access.caller_limits import DEFAULT_LIMIT, EVERY_OTHER, ROLE_LIMITS, CallerLimits
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.rate_limit import LimitCharge, RateLimit

LIMIT, OTHER = RateLimit(requests_per_minute=7), RateLimit(requests_per_minute=9)
names = st.sampled_from(["a", "b", "a:b", EVERY_OTHER]) | unicode_text


@given(st.frozensets(roles))
def test_a_caller_has_the_most_generous_limit_of_its_roles(held: frozenset[str]) -> None:
    known = [ROLE_LIMITS[role] for role in held if role in ROLE_LIMITS]
    chosen = CallerLimits().of_role(held)
    assert chosen in (known or [DEFAULT_LIMIT])
    assert all(chosen.requests_per_minute >= limit.requests_per_minute for limit in known)


def test_the_documented_limits_by_role() -> None:
    assert {role: (limit.requests_per_minute, limit.burst) for role, limit in ROLE_LIMITS.items()} == {
        "cpi-admin": (1000, 100),
        "tenant-admin": (500, 50),
        "devops": (200, 20),
        "viewer": (60, 10),
    }
    assert (DEFAULT_LIMIT.requests_per_minute, DEFAULT_LIMIT.burst) == (30, 5)


@given(principals())
def test_without_further_limits_a_caller_has_its_own_only(principal: Principal) -> None:
    limits = CallerLimits()
    (own,) = limits.of_caller(principal)
    assert (own.name, own.limit, own.cost) == ("caller", limits.of_role(principal.roles), 1)
    assert limits.of_consumer(principal.tenant, "app") == ()


@given(st.dictionaries(few_tenants | st.just(TenantId(EVERY_OTHER)), rate_limits), principals())
def test_a_tenants_limit_is_its_own_else_that_of_every_other(
    tenants: dict[TenantId, RateLimit], principal: Principal
) -> None:
    common = CallerLimits(tenants=tenants).of_caller(principal)[1:]
    if principal.tenant is None:
        assert common == ()
        return
    expected = tenants.get(principal.tenant) or tenants.get(TenantId(EVERY_OTHER))
    assert [charge.limit for charge in common] == ([] if expected is None else [expected])


@given(st.tuples(principals(), principals()))
def test_callers_of_one_tenant_share_its_counter_and_have_their_own(pair: tuple[Principal, Principal]) -> None:
    limits = CallerLimits(tenants={EVERY_OTHER: LIMIT})
    (own, *common), (other_own, *other_common) = (limits.of_caller(principal) for principal in pair)
    assert (own.key == other_own.key) == (pair[0].identity_key == pair[1].identity_key)
    assert (common == other_common) == (pair[0].tenant == pair[1].tenant)


@given(st.tuples(st.none() | few_tenants, names), st.tuples(st.none() | few_tenants, names))
def test_a_consumer_is_counted_by_itself_in_each_tenant(
    one: tuple[TenantId | None, str], other: tuple[TenantId | None, str]
) -> None:
    limits = CallerLimits(consumers={EVERY_OTHER: LIMIT, "a": OTHER})
    (first,), (second,) = limits.of_consumer(*one), limits.of_consumer(*other)
    assert (first.key == second.key) == (one == other)
    assert first.limit == (OTHER if one[1] == "a" else LIMIT)


@given(principals(), names)
def test_limits_of_several_kinds_never_share_a_counter(principal: Principal, consumer: str) -> None:
    limits = CallerLimits(tenants={EVERY_OTHER: LIMIT}, consumers={EVERY_OTHER: OTHER})
    charges: tuple[LimitCharge, ...] = limits.of_caller(principal) + limits.of_consumer(principal.tenant, consumer)
    assert len({charge.key for charge in charges}) == len(charges)


def test_limits_stand_from_the_most_generous_role_down() -> None:
    assert list(ROLE_LIMITS) == ["cpi-admin", "tenant-admin", "devops", "viewer"]


def test_counters_are_named_so_that_replicas_of_other_versions_share_them() -> None:
    ann = Principal.of("ann", tenant="acme", roles=["viewer"])
    limits = CallerLimits(tenants={"acme": LIMIT}, consumers={"app": OTHER})
    assert limits.of_caller(ann) == (
        LimitCharge("caller", f"caller:{ann.identity_key}", ROLE_LIMITS["viewer"]),
        LimitCharge("tenant", "tenant:acme", LIMIT),
    )
    assert limits.of_consumer(TenantId("acme"), "app") == (LimitCharge("consumer", "consumer:acme:app", OTHER),)
    assert limits.of_consumer(None, "app") == (LimitCharge("consumer", "consumer::app", OTHER),)
    assert limits.of_consumer(None, "other") == ()


def test_the_most_generous_of_the_callers_own_roles_counts() -> None:
    limits = CallerLimits(roles={"slow": LIMIT, "fast": OTHER, "faster": RateLimit(requests_per_minute=11)})
    assert limits.of_role(frozenset({"slow", "fast"})) is OTHER
    assert limits.of_role(frozenset({"slow", "nobody"})) is LIMIT
    assert limits.of_role(frozenset({"nobody"})) is DEFAULT_LIMIT
    assert EVERY_OTHER == "*"
