"""The law of fair shares: whoever holds less than its share gets room, and loses nothing to others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.access.fair_share import Bound, Caps, FairShares, FairSlots, Holder, NoRoom
from stoa.domain.access.identity import TenantId

holders = st.builds(
    Holder, st.none() | st.sampled_from(["a", "b", "c", "d"]).map(TenantId), st.sampled_from(["x", "y", "z"])
)
steps = st.lists(st.tuples(holders, st.integers(0, 12), st.integers(1, 5)), max_size=60)
caps = st.builds(Caps, st.integers(1, 8), st.integers(1, 12), st.integers(1, 24))


def by(tenant: str | None, caller: str = "x") -> Holder:
    return Holder(None if tenant is None else TenantId(tenant), caller)


@given(caps, steps, st.booleans())
def test_fair_shares_never_pass_a_cap_and_count_what_is_held(limits: Caps, done: list, evicts_own: bool) -> None:
    shares: FairShares[tuple[Holder, int]] = FairShares(limits, evicts_own=evicts_own)
    held: dict[tuple[Holder, int], int] = {}
    for holder, number, size in done:
        key = (holder, number)
        try:
            gone = shares.put(key, holder, size)
        except NoRoom:
            assert {one: size for one, (_, size) in shares._entries.items()} == held, "refused: all is as before"
            continue
        assert key not in gone
        for one in gone:
            del held[one]
        held[key] = size
        assert shares.total == sum(held.values()) <= limits.total
        assert len(shares) == len(held)
        for other in {one for one, _ in held}:
            assert shares.of_caller(other) <= limits.per_caller
            assert shares.of_tenant(other.tenant) <= limits.per_tenant
            assert shares.of_caller(other) == sum(size for (who, _), size in held.items() if who == other)


@given(st.integers(1, 24), steps, holders)
def test_fair_shares_give_room_to_who_is_below_its_share_and_take_it_from_who_holds_most(
    total: int, done: list, newcomer: Holder
) -> None:
    """Whatever others did, and however often."""
    shares: FairShares[object] = FairShares(Caps(total, total, total), evicts_own=False)
    for holder, number, size in done:
        try:
            shares.put((holder, number), holder, size)
        except NoRoom as refused:
            tenants = {one.tenant for one, _ in shares._entries.values()} | {holder.tenant}
            assert refused.bound is Bound.CALLER or (shares.of_tenant(holder.tenant) + size) * len(tenants) > total
    before = {one: shares.of_tenant(one) for one in {who.tenant for who, _ in shares._entries.values()}}
    tenants = before.keys() | {newcomer.tenant}
    if (before.get(newcomer.tenant, 0) + 1) * len(tenants) > total:
        return
    shares.put("new", newcomer)
    for tenant, held in before.items():
        if held * len(tenants) <= total:
            assert shares.of_tenant(tenant) >= held, "what is below its share is never taken"


def test_fair_shares_evict_the_callers_then_the_tenants_least_recently_used() -> None:
    shares: FairShares[str] = FairShares(Caps(2, 3, 100))
    for key, holder in (("x1", by("a")), ("x2", by("a")), ("y1", by("a", "y"))):
        assert shares.put(key, holder) == []
    shares.use("x1")
    assert shares.put("x3", by("a")) == ["x2"]
    assert shares.put("z1", by("a", "z")) == ["y1"]
    assert shares.put("x1", by("b")) == [], "the key moved to another holder"
    shares.use("gone")
    shares.remove("gone")
    assert (len(shares), shares.of_tenant(TenantId("b")), shares.of_tenant(TenantId("c"))) == (3, 1, 0)


def test_fair_shares_refuse_by_the_cap_that_is_met() -> None:
    shares: FairShares[str] = FairShares(Caps(2, 3, 4), evicts_own=False)
    for number in range(2):
        shares.put(f"x{number}", by("a"))
    with pytest.raises(NoRoom) as refused:
        shares.put("x2", by("a"))
    assert refused.value.bound is Bound.CALLER
    shares.put("y", by("a", "y"))
    with pytest.raises(NoRoom) as refused:
        shares.put("z", by("a", "z"))
    assert refused.value.bound is Bound.TENANT
    shares.put("b", by("b"))
    assert shares.put("c", by("c")) == ["x0"], "a holds three of four"
    assert shares.put("d", by(None)) == ["x1"]
    with pytest.raises(NoRoom) as refused:
        shares.put("e", by("e"))
    assert refused.value.bound is Bound.ALL


def test_fair_shares_of_bytes_make_room_for_all_of_it_or_none() -> None:
    shares: FairShares[str] = FairShares(Caps(10, 10, 10))
    with pytest.raises(NoRoom):
        shares.put("a", by("a"), 11)
    shares.put("a", by("a"), 4)
    shares.put("b", by("a"), 4)
    assert shares.put("c", by("a"), 10) == ["a", "b"]
    assert shares.put("c", by("a"), 3) == []
    assert (shares.total, shares.of_caller(by("a"))) == (3, 3)
    with pytest.raises(NoRoom):
        shares.put("c", by("a"), 11)
    assert shares.total == 3, "what it held before is kept"


@given(st.integers(1, 20), st.lists(st.tuples(holders, st.booleans()), max_size=80))
def test_fair_slots_leave_a_place_for_who_has_none_as_long_as_one_is_free(total: int, done: list) -> None:
    slots = FairSlots(Caps(total + 1, total + 1, total))
    taken: list[Holder] = []
    for holder, is_taken in done:
        if not is_taken and holder in taken:
            taken.remove(holder)
            slots.release(holder)
        elif is_taken:
            mine = sum(one.tenant == holder.tenant for one in taken)
            free = total - len(taken)
            try:
                slots.take(holder)
                taken.append(holder)
                assert free > mine or not mine
            except NoRoom as refused:
                assert mine >= free
                assert refused.bound is (Bound.TENANT if mine else Bound.ALL)
        assert len(taken) <= total
        assert slots.held(holder.tenant) == sum(one.tenant == holder.tenant for one in taken)
    for holder in taken:
        slots.release(holder)
    for number in range(total):
        slots.take(by(f"t{number}"))


def test_fair_slots_of_one_tenant_alone_are_half_of_all() -> None:
    slots = FairSlots(Caps(8, 8, 10))
    for _ in range(5):
        slots.take(by("evil"))
    assert slots.met(by("evil", "y")) is Bound.TENANT
    assert slots.met(by("acme")) is None


def test_fair_slots_of_a_caller_are_capped() -> None:
    slots = FairSlots(Caps(1, 2, 100))
    slots.take(by("a"))
    assert slots.met(by("a")) is Bound.CALLER
    slots.take(by("a", "y"))
    assert slots.met(by("a", "z")) is Bound.TENANT
