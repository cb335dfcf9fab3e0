"""Draws the pictures of README: `python -m tools.docs.pictures`.

The architecture comes from docs/pictures/architecture.yaml, the terminal from what `stoa demo --once` prints.
"""

import os
import re
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
_STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2328; }
  .note { font-size: 12px; fill: #59636e; }
  .title { font-weight: 600; }
  .box { fill: #f6f8fa; stroke: #8c959f; }
  .stage { fill: #ddf4ff; stroke: #54aeff; }
  .frame { fill: none; stroke: #54aeff; }
  path { fill: none; stroke: #8c959f; }
  marker path { fill: #8c959f; stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .note { fill: #9198a1; }
    .box { fill: #151b23; stroke: #656c76; }
    .stage { fill: #0c2d4f; stroke: #388bfd; }
    .frame { stroke: #388bfd; }
    path { stroke: #656c76; }
    marker path { fill: #656c76; }
  }
"""
_CALLER_X, _DOOR_X, _PIPELINE_X, _ADAPTER_X = 10, 190, 390, 610
_TOP, _STAGE_STEP, _STAGE_HEIGHT = 62, 42, 30
WIDTH = 900


def architecture(source: dict[str, Any]) -> str:
    """The picture as SVG; its colours follow the reader's light or dark scheme."""
    stages = source["pipeline"]["stages"]
    height = _TOP + _STAGE_STEP * len(stages) + 14
    middle = {stage: _TOP + _STAGE_STEP * row + _STAGE_HEIGHT // 2 for row, stage in enumerate(stages)}
    spread = (_STAGE_STEP * len(stages)) / len(source["doors"])
    door_y = {door["text"]: int(_TOP - 6 + spread * (row + 0.5)) for row, door in enumerate(source["doors"])}
    parts = [
        f'<rect class="frame" x="{_PIPELINE_X - 14}" y="8" width="178" height="{height - 16}" rx="8"/>',
        _text(_PIPELINE_X + 75, 30, source["pipeline"]["title"], "title"),
        _text(_PIPELINE_X + 75, 48, source["pipeline"]["note"], "note"),
    ]
    for stage, y in middle.items():
        parts += [_box(_PIPELINE_X, y, 150, _STAGE_HEIGHT, "stage"), _text(_PIPELINE_X + 75, y + 5, stage)]
    for door in source["doors"]:
        parts += _named(_DOOR_X, door_y[door["text"]], 130, door)
        parts.append(_arrow(_DOOR_X + 130, door_y[door["text"]], _PIPELINE_X - 16, door_y[door["text"]]))
    for caller in source["callers"]:
        y = door_y[caller["door"]]
        parts += [_box(_CALLER_X, y, 130, 36, "box", round_corners=18), _text(_CALLER_X + 65, y + 5, caller["text"])]
        parts.append(_arrow(_CALLER_X + 130, y, _DOOR_X - 2, y))
    for adapter in source["adapters"]:
        y = middle[adapter["stage"]]
        parts += _named(_ADAPTER_X, y, 270, adapter)
        parts.append(_arrow(_PIPELINE_X + 150, y, _ADAPTER_X - 2, y))
    label = "Callers reach four doors, which lead into one pipeline; its stages use adapters behind ports."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img"'
        f' aria-label="{label}">\n<style>{_STYLE}</style>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _box(x: int, y: int, width: int, height: int, kind: str, *, round_corners: int = 6) -> str:
    """A rectangle whose middle is at the height `y`."""
    top = y - height // 2
    return f'<rect class="{kind}" x="{x}" y="{top}" width="{width}" height="{height}" rx="{round_corners}"/>'


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x}" y="{y}" text-anchor="middle">{escape(text)}</text>'


def _named(x: int, y: int, width: int, part: dict[str, str]) -> list[str]:
    middle = x + width // 2
    return [
        _box(x, y, width, 36, "box"),
        _text(middle, y - 2, part["text"]),
        _text(middle, y + 13, part["note"], "note"),
    ]


def _arrow(x: int, y: int, to_x: int, to_y: int) -> str:
    return f'<path d="M{x} {y} L{to_x} {to_y}" marker-end="url(#tip)"/>'


def terminal(printed: str, command: str) -> str:
    """What a command printed, with its colours, as SVG."""
    lines = Text.from_ansi(printed)
    width = max(line.cell_len for line in lines.split())
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=width, file=nowhere, force_terminal=True)
        console.print(lines)
        drawn = console.export_svg(title=command, unique_id="demo")
    # rich names web fonts; a picture must not ask another server when it is shown.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


def demo() -> str:
    """What `stoa demo --once` prints on a terminal of 110 columns, on port 8080."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PATH": os.environ["PATH"], "DATA_DIR": folder, "FORCE_COLOR": "1", "COLUMNS": "110"}
        shown = subprocess.run(  # noqa: S603
            [Path(sys.executable).with_name("stoa"), "demo", "--once"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            cwd=PICTURES.parents[1],
        )
    return shown.stdout


def main() -> None:
    source = yaml.safe_load((PICTURES / "architecture.yaml").read_text(encoding="utf-8"))
    (PICTURES / "architecture.svg").write_text(architecture(source), encoding="utf-8")
    (PICTURES / "demo.svg").write_text(terminal(demo(), "make run"), encoding="utf-8")


if __name__ == "__main__":
    main()
