"""Fragments become sections of CHANGELOG.md."""

from pathlib import Path

import pytest
from tools.docs.changelog import HEAD, merged, read


def fragment(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_changelog_gathers_fragments_by_kind_and_joins_a_version_that_is_there(tmp_path: Path) -> None:
    first = read(
        [fragment(tmp_path, "b.fixed.md", "B no\nlonger fails.\n"), fragment(tmp_path, "a.added.md", "A is new.\n")]
    )
    changelog = merged(HEAD, "1.0", first)
    assert changelog == f"{HEAD}\n## 1.0\n\n### Added\n\n- A is new.\n\n### Fixed\n\n- B no longer fails.\n"
    second = read([fragment(tmp_path, "c.added.md", "C is new.")])
    assert merged(changelog, "1.0", second) == changelog.replace("- A is new.\n", "- A is new.\n- C is new.\n")


def test_changelog_puts_a_new_version_above_older_ones(tmp_path: Path) -> None:
    entries = read([fragment(tmp_path, "a.removed.md", "A is gone.")])
    changelog = merged(merged(HEAD, "1.0", entries), "1.1", entries)
    assert changelog.index("## 1.1") < changelog.index("## 1.0")
    assert changelog.count("- A is gone.") == 2


@pytest.mark.parametrize(("name", "text"), [("a.news.md", "A."), ("a.md", "A."), ("a.added.md", " \n")])
def test_changelog_refuses_a_fragment_without_kind_or_sentence(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ValueError, match="write one sentence"):
        read([fragment(tmp_path, name, text)])
