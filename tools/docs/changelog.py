"""Moves the fragments of changelog.d into CHANGELOG.md: `python -m tools.docs.changelog`, or `make changelog`.

A fragment is `<topic>.<added|changed|fixed|removed>.md` with one sentence. Fragments go below the version of
pyproject.toml; where CHANGELOG.md has that version already, they join its lists.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = ("added", "changed", "fixed", "removed")
HEAD = "# Changelog\n\nWhat users notice, by version. `make changelog` adds the fragments of changelog.d.\n"

Entries = dict[str, list[str]]
"""Sentences by kind."""


def read(fragments: list[Path]) -> Entries:
    """Sentences of the fragments, one line each. Raises ValueError for a name that is none or an empty fragment."""
    entries: Entries = {kind: [] for kind in KINDS}
    for path in sorted(fragments):
        name = re.fullmatch(rf"[\w-]+\.({'|'.join(KINDS)})\.md", path.name)
        sentence = " ".join(path.read_text(encoding="utf-8").split())
        if name is None or not sentence:
            raise ValueError(f"{path.name}: write one sentence into <topic>.<{'|'.join(KINDS)}>.md")
        entries[name[1]].append(sentence)
    return entries


def merged(changelog: str, version: str, entries: Entries) -> str:
    """The changelog with the entries in the section of `version`, which is made first of all where there is none."""
    body = changelog.removeprefix(HEAD)
    own, others = "", body
    if found := re.search(rf"^## {re.escape(version)}\n(.*?)(?=^## |\Z)", body, re.DOTALL | re.MULTILINE):
        own, others = found[1], body[: found.start()] + body[found.end() :]
    section = f"\n## {version}\n"
    for kind in KINDS:
        before = re.search(rf"^### {kind.capitalize()}\n\n(.*?)(?=^### |\Z)", own, re.DOTALL | re.MULTILINE)
        lines = (before[1].strip().splitlines() if before else []) + [f"- {sentence}" for sentence in entries[kind]]
        if lines:
            section += f"\n### {kind.capitalize()}\n\n" + "\n".join(lines) + "\n"
    return HEAD + section + (f"\n{others.strip()}\n" if others.strip() else "")


def main() -> int:
    fragments = [path for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changelog = ROOT / "CHANGELOG.md"
    try:
        entries = read(fragments)
    except ValueError as caught:
        print(caught, file=sys.stderr)
        return 1
    before = changelog.read_text(encoding="utf-8") if changelog.exists() else HEAD
    changelog.write_text(merged(before, version, entries), encoding="utf-8")
    for path in fragments:
        path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
