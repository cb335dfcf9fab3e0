"""Reads what the documentation promises out of its Markdown: fenced blocks and tables, each with its place."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its opening fence."""

    file: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def documents() -> list[Path]:
    named = ("README.md", "CONTRIBUTING.md", "bench/README.md", "deploy/keycloak/README.md")
    return [path for name in named if (path := ROOT / name).exists()] + sorted((ROOT / "docs").glob("*.md"))


def blocks() -> list[Block]:
    found: list[Block] = []
    for path in documents():
        text = path.read_text()
        for fence in FENCE.finditer(text):
            line = text.count("\n", 0, fence.start()) + 1
            found.append(Block(str(path.relative_to(ROOT)), line, fence["language"], fence["text"]))
    return found


def table(file: str, first_heading: str) -> list[list[str]]:
    """Cells of the rows below the table head that begins with `first_heading`."""
    lines = (ROOT / file).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    rows: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows
