"""Reads what the documentation promises out of its Markdown: fenced blocks and tables, each with its place."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"(?P<indent>[\s>]*)(?P<marks>`{3,}|~{3,})(?P<info>.*)")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its opening fence.

    `language` is all that the fence says. One that is indented, quoted or made of tildes keeps its marks, so that no
    rule knows it and the block is told of instead of being skipped.
    """

    file: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def documents() -> list[Path]:
    named = ("README.md", "CONTRIBUTING.md", "bench/README.md", "deploy/keycloak/README.md")
    return [path for name in named if (path := ROOT / name).exists()] + sorted((ROOT / "docs").rglob("*.md"))


def blocks() -> list[Block]:
    return [block for path in documents() for block in blocks_of(str(path.relative_to(ROOT)), path.read_text())]


def blocks_of(file: str, text: str) -> list[Block]:
    found: list[Block] = []
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        if not (fence := FENCE.fullmatch(line)):
            continue
        inside: list[str] = []
        for _, inner in lines:
            if inner.strip(" \t>").startswith(fence["marks"]):
                break
            inside.append(inner + "\n")
        plain = not fence["indent"] and fence["marks"] == "```"
        language = fence["info"] if plain else line
        found.append(Block(file, number, language, "".join(inside)))
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
