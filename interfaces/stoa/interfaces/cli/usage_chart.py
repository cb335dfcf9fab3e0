"""A usage report as a picture for the terminal: a bar for each group, or columns over the days."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Literal

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stoa.application.metering.summarise_usage import UsageFigures, UsageSummary
from stoa.domain.metering.money import MicroUnits, to_decimal

Measure = Literal["calls", "cost"]

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_HEIGHT = 8
_BAR = 40
_MOST_DAYS = 50
"""Upper bound on the days that fit in 120 columns with an axis; earlier days are left out, with a remark."""


def chart(summary: UsageSummary, measure: Measure) -> RenderableType:
    """Draws a report. With `day` among the groups time runs from left to right: as columns, or as a line of small
    columns for each further group."""
    if not summary.rows:
        return Text("No usage.")
    if "day" not in summary.group_by:
        return _bars(summary, measure)
    return _columns(summary, measure) if len(summary.group_by) == 1 else _lines(summary, measure)


def _value(figures: UsageFigures, measure: Measure) -> int:
    return figures.calls if measure == "calls" else figures.cost


def _label(value: int, measure: Measure) -> str:
    return str(value) if measure == "calls" else f"{to_decimal(MicroUnits(value)):f}"


def _part(value: int, whole: int) -> str:
    return f"{100 * value / whole:.1f} %" if whole else "-"


def _title(summary: UsageSummary, measure: Measure) -> str:
    what = "Calls" if measure == "calls" else "Cost units"
    return f"{what} by {', '.join(summary.group_by)}" if summary.group_by else what


def _bars(summary: UsageSummary, measure: Measure) -> Table:
    drawn = Table(title=_title(summary, measure), title_justify="left", box=None, show_header=False)
    for _ in summary.group_by:
        drawn.add_column(overflow="fold")
    drawn.add_column(min_width=_BAR)
    drawn.add_column(justify="right")
    drawn.add_column(justify="right")
    most = max(_value(row, measure) for row in summary.rows) or 1
    whole = _value(summary.totals, measure)
    for row in sorted(summary.rows, key=lambda row: -_value(row, measure)):
        value = _value(row, measure)
        drawn.add_row(*row.group, Bar(most, 0, value, width=_BAR), _label(value, measure), _part(value, whole))
    return drawn


def _columns(summary: UsageSummary, measure: Measure) -> Group:
    days, left_out = _days(summary, 0)
    by_day = {row.group[0]: _value(row, measure) for row in summary.rows}
    values = [by_day.get(day, 0) for day in days]
    most = max(values) or 1
    axis = max(len(_label(most, measure)), 1)
    lines: list[str] = []
    for level in range(_HEIGHT, 0, -1):
        label = {_HEIGHT: _label(most, measure), 1: "0"}.get(level, "")
        lines.append(f"{label:>{axis}} ┤ " + " ".join(_cell(value, most, level) for value in values))
    lines.append(f"{'':>{axis}} └" + "─" * (2 * len(days)))
    lines.append(f"{'':>{axis}}   {_ends(days, 2 * len(days) - 1)}")
    return Group(
        Text(_title(summary, measure) + left_out, style="italic"), *(Text(line, no_wrap=True) for line in lines)
    )


def _cell(value: int, most: int, level: int) -> str:
    """The character of a column at one level; every value above zero shows at the lowest level."""
    eighths = max(-(-value * _HEIGHT * 8 // most), 0) - (level - 1) * 8
    return _EIGHTHS[min(max(eighths, 0), 8)]


def _lines(summary: UsageSummary, measure: Measure) -> Table:
    place = summary.group_by.index("day")
    days, left_out = _days(summary, place)
    groups: defaultdict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for row in summary.rows:
        groups[row.group[:place] + row.group[place + 1 :]][row.group[place]] = _value(row, measure)
    shown = [name for name in summary.group_by if name != "day"]
    drawn = Table(title=_title(summary, measure) + left_out, title_justify="left", box=None, header_style="dim")
    for name in shown:
        drawn.add_column(name, overflow="fold")
    drawn.add_column(_ends(days, len(days)), no_wrap=True)
    drawn.add_column("total", justify="right")
    drawn.add_column("", justify="right")
    most = max(max(values.values()) for values in groups.values()) or 1
    whole = _value(summary.totals, measure)
    for group, values in sorted(groups.items(), key=lambda item: -sum(item[1].values())):
        line = "".join(_EIGHTHS[-(-values.get(day, 0) * 8 // most)] for day in days)
        total = sum(values.values())
        drawn.add_row(*group, line, _label(total, measure), _part(total, whole))
    return drawn


def _days(summary: UsageSummary, place: int) -> tuple[Sequence[str], str]:
    """Every day from the first to the last, including those without calls, and a remark if there are too many."""
    ordinals = [date.fromisoformat(row.group[place]).toordinal() for row in summary.rows]
    first, last = min(ordinals), max(ordinals)
    begin = max(first, last - _MOST_DAYS + 1)
    remark = "" if begin == first else f" (the last {_MOST_DAYS} days; narrow with --until for earlier ones)"
    return [date.fromordinal(day).isoformat() for day in range(begin, last + 1)], remark


def _ends(days: Sequence[str], width: int) -> str:
    if len(days) == 1:
        return days[0]
    return f"{days[0]} {days[-1]:>{max(width - len(days[0]) - 1, len(days[-1]))}}"
