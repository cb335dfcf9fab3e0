"""The ratio of a governed call to a bare one, in units that do not depend on the machine (`python -m bench ratio`)."""

import pytest
from bench.ratio import COMMITTED, Counts, python_counts, ratio_of


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counts:
    return python_counts(tmp_path_factory.mktemp("ratio"))


@pytest.mark.parametrize("unit", ["functions", "bytecodes"])
def test_the_ratio_of_a_governed_call_to_a_bare_one_has_not_grown(counts: Counts, unit: str) -> None:
    assert ratio_of(counts[unit]) <= COMMITTED[unit], counts[unit]


def test_the_ratio_is_of_calls_that_do_their_work(counts: Counts) -> None:
    """A bare call that asked no back end would make every ratio small."""
    assert counts["functions"]["bare"] > 100
    assert counts["bytecodes"]["bare"] > 20 * counts["functions"]["bare"]
