"""README stays one page, and every link of every document leads somewhere."""

import re
from pathlib import Path

import pytest
from tests.docs.markdown import ROOT, documents

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)\s]+)\)")
LINKED = [*documents(), ROOT / "architecture.md", ROOT / "SECURITY.md"]


def test_readme_has_at_most_700_words() -> None:
    assert len(README.split()) <= 700


def test_readme_leads_with_what_it_is_and_two_commands() -> None:
    head = README.partition("\n## ")[0]
    assert head.index("STOA is") < head.index("make run") < head.index("make test")
    assert len(re.findall(r"^- \*\*", head, re.MULTILINE)) == 6


def test_readme_states_the_date_of_what_it_compares() -> None:
    comparison = README.partition("## Compared")[2].partition("\n## ")[0]
    assert re.search(r"stated them on \d{4}-\d\d-\d\d; cost measured here on \d{4}-\d\d-\d\d", comparison)
    heading = comparison.strip().splitlines()[0]
    assert len(LINK.findall(heading)) == 3, "each peer is named with the page that its row is from"


@pytest.mark.parametrize("document", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_lead_to_files(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = {link.partition("#")[0] for link in LINK.findall(text) if not re.match(r"[a-z]+:|#", link)}
    assert [target for target in sorted(targets) if not (document.parent / target).exists()] == []
