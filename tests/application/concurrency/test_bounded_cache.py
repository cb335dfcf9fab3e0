"""A bounded cache is a dictionary that forgets what was put the longest ago."""

from hypothesis import given
from hypothesis import strategies as st

from stoa.application.concurrency.bounded_cache import BoundedCache

STEPS = st.lists(st.tuples(st.sampled_from(["put", "get", "discard"]), st.integers(0, 8)), max_size=60)


@given(st.integers(1, 5), STEPS)
def test_cache_holds_what_was_put_last(maximum: int, steps: list[tuple[str, int]]) -> None:
    cache: BoundedCache[int, int] = BoundedCache(maximum)
    model: list[tuple[int, int]] = []
    for value, (action, key) in enumerate(steps):
        others = [entry for entry in model if entry[0] != key]
        if action == "put":
            cache.put(key, value)
            model = [*others, (key, value)][-maximum:]
        elif action == "discard":
            cache.discard(key)
            model = others
        assert len(cache) == len(model) <= maximum
        assert all(cache.get(name) == dict(model).get(name) for name in range(9))


def test_cache_cleared_is_empty_and_can_be_used_again() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    cache.clear()
    assert (len(cache), cache.get("a")) == (0, None)
    cache.put("a", 2)
    assert cache.get("a") == 2
