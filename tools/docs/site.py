"""MkDocs hooks: pages that live outside `docs`, and links between them.

The repository is read on a forge as well as on the site, so its documents link to each other by their places in the
repository. Here those links become links between pages; links to sources, which the site does not have, become text.
A link to nothing stays as it is, and the strict build refuses it.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

OUTSIDE = {
    "architecture.md": "project/architecture.md",
    "SECURITY.md": "project/security.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "bench/README.md": "project/benchmark.md",
    "deploy/keycloak/README.md": "project/login.md",
}
"""Page of the site by place in the repository."""
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]\[]*(?:\[[^\]]*\])?[^\]\[]*)\]\((?P<target>[^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    for place, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(root / place)))
    files.append(File.generated(config, "decisions/index.md", content=_decisions(root / "docs" / "decisions")))
    return files


def _decisions(folder: Path) -> str:
    """A list of the decision records with their titles."""
    rows: list[str] = []
    for path in sorted(folder.glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        rows.append(f"- [{title}]({path.name})\n")
    return "# Decisions\n\nWhat was decided where a reader would ask why.\n\n" + "".join(rows)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    root = Path(config.config_file_path).parent
    inside = {page: place for place, page in OUTSIDE.items()}
    place = inside.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def linked(match: re.Match[str]) -> str:
        target, mark, anchor = match["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        destination = OUTSIDE.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else "")
        if destination == "decisions":
            destination = "decisions/index.md"
        if destination:
            relative = posixpath.relpath(destination, posixpath.dirname(page.file.src_uri) or ".")
            return f"{match['image']}[{match['text']}]({relative}{mark}{anchor})"
        return match["text"] if (root / wanted).exists() else match[0]

    return _LINK.sub(linked, markdown)
