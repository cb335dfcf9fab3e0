"""Finds the document of an API description in a folder that holds all its files."""

import re
from collections.abc import Iterator
from pathlib import Path

from stoa.domain.errors import InvalidInput

_SUFFIXES = (".yaml", ".yml", ".json")
_DESCRIPTION = re.compile(rb"""^\s*[{,]?\s*["']?(openapi|swagger|asyncapi)["']?\s*:""", re.MULTILINE)
_CALLABLE = re.compile(rb"""["']?\b(paths|channels|webhooks)["']?\s*:""")
"""A file of parts (`components` alone) gives way to a description below it, although it says its version."""
_HEAD_BYTES = 4096
_DEPTH_LIMIT = 4
_FILES_LIMIT = 20_000
_USUAL_STEMS = ("openapi", "swagger", "asyncapi", "index", "main", "root", "api")

_MANIFESTS = "name a folder of manifests with --catalogue"


def description_in(folder: Path) -> str:
    """The path of the only description in `folder`, or in the nearest folders below it that have one. Of several the
    one with a usual name (`openapi.yaml`) counts. Raises InvalidInput."""
    level, seen, first = [folder], 0, list[Path]()
    for _ in range(_DEPTH_LIMIT):
        entries = sorted(entry for place in level for entry in _entries(place))
        seen += len(entries)
        if seen > _FILES_LIMIT:
            break
        documents = [entry for entry in entries if _is_description(entry)]
        first = first or documents
        if callable_ones := [document for document in documents if _CALLABLE.search(document.read_bytes())]:
            return str(_chosen(folder, callable_ones))
        level = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    if first:
        return str(_chosen(folder, first))
    raise InvalidInput(f"{folder}: is a folder without an API description; {_MANIFESTS}")


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as caught:
        raise InvalidInput(f"{folder}: cannot be read: {caught.strerror}") from caught


def _is_description(path: Path) -> bool:
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return _DESCRIPTION.search(file.read(_HEAD_BYTES)) is not None
    except OSError:
        return False


def _chosen(folder: Path, documents: list[Path]) -> Path:
    usual = [document for document in documents if document.stem.lower() in _USUAL_STEMS]
    for candidates in (documents, usual):
        if len(candidates) == 1:
            return candidates[0]
    names = ", ".join(str(document.relative_to(folder)) for document in documents[:5])
    raise InvalidInput(f"{folder}: is a folder; {_MANIFESTS}, or one of its API descriptions: {names}")
