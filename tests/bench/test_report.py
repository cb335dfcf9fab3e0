"""From rounds to figures: ratios are taken within each round."""

from bench.load import Round
from bench.report import Measured, Spread, ratios, spread_of, verdicts


def measured(system: str, *cpu: float) -> Measured:
    rounds = (Round(1000, 1000.0, 1.0, 2.0, each, 10.0, 5.0, 50.0) for each in cpu)
    return Measured(system, "", 50.0, tuple(rounds))


def test_ratios_compare_each_round_with_the_same_round_of_the_other() -> None:
    """The machine was ten times as slow in the second round, for both."""
    both = [measured("bare", 100, 1000, 100), measured("gateway", 110, 1100, 110)]
    ratio = ratios(both, "bare")["gateway"]
    assert [round(value, 6) for value in (ratio.low, ratio.median, ratio.high)] == [1.1, 1.1, 1.1]


def test_ratios_to_a_system_that_was_not_measured_are_none() -> None:
    assert ratios([measured("gateway", 100)], "bare") == {}


def test_quartiles_are_those_of_the_rounds() -> None:
    assert spread_of([1, 2, 3, 4, 5]) == Spread(2, 3, 4)
    assert spread_of([7]) == Spread(7, 7, 7)


def test_verdicts_hold_the_gateway_to_its_bars() -> None:
    bare = measured("bare", 100, 100, 100)
    assert "goal reached" in verdicts([bare, measured("gateway", 90, 90, 90)])
    assert "bar reached" in verdicts([bare, measured("gateway", 109, 109, 109)])
    assert "ABOVE THE BAR" in verdicts([bare, measured("gateway", 120, 120, 120)])


def test_verdicts_say_when_the_machine_was_busy() -> None:
    assert "The machine was busy" in verdicts([measured("bare", 100, 150, 200)])
    assert "The machine was busy" not in verdicts([measured("bare", 100, 101, 102)])
