"""Bars as SVG, drawn from the figures of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2328; }
  .note { font-size: 12px; fill: #59636e; }
  .title { font-weight: 600; }
  .bar { fill: #afb8c1; }
  .ours { fill: #54aeff; }
  line { stroke: #59636e; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .note { fill: #9198a1; }
    .bar { fill: #656c76; }
    .ours { fill: #388bfd; }
    line { stroke: #9198a1; }
  }
"""
_WIDTH, _LEFT, _RIGHT = 760, 190, 130
_TOP, _STEP, _HEIGHT = 56, 30, 18


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    value: float
    text: str
    """The label beside the bar."""
    low: float | None = None
    """The quartiles, drawn as a line."""
    high: float | None = None
    is_ours: bool = False


def bars(title: str, note: str, drawn: Sequence[Bar]) -> str:
    """One bar below the other from zero, to one linear scale; colours follow the reader's light or dark scheme."""
    height = _TOP + _STEP * len(drawn) + 10
    scale = (_WIDTH - _LEFT - _RIGHT) / max(bar.high or bar.value for bar in drawn)
    parts = [
        f'<text class="title" x="10" y="22">{escape(title)}</text>',
        f'<text class="note" x="10" y="41">{escape(note)}</text>',
    ]
    for row, bar in enumerate(drawn):
        y = _TOP + _STEP * row
        end = _LEFT + max(bar.value, bar.high or 0) * scale
        kind = "bar ours" if bar.is_ours else "bar"
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{bar.value * scale:.1f}" height="{_HEIGHT}" rx="2"/>',
            f'<text class="note" x="{end + 8:.1f}" y="{y + 13}">{escape(bar.text)}</text>',
        ]
        if bar.low is not None and bar.high is not None:
            middle = y + _HEIGHT // 2
            low, high = (f"{_LEFT + value * scale:.1f}" for value in (bar.low, bar.high))
            parts.append(f'<line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img"'
        f' aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n{body}\n</svg>\n'
    )
