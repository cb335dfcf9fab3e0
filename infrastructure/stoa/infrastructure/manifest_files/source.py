"""Manifests from YAML and JSON files, one or many documents a file, in folder trees, watched for changes."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pydantic_core
import yaml
from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.domain.errors import InvalidInput
from stoa.domain.json_value import is_object
from stoa.infrastructure.manifest_files.parsing import SIZE_LIMIT, load_all, reason

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_API_DESCRIPTION = re.compile(rb"""^\s*[{,]?\s*["']?(openapi|swagger)["']?\s*:""", re.MULTILINE)
_MANIFEST = re.compile(rb"""["']?apiVersion["']?\s*:\s*["']?gostoa\.dev/""")
"""A ToolSet with an inline description is a manifest all the same."""
_CHECK_MILLISECONDS = 500


class FileToolSource(ToolSource):
    """`paths`: files, and folders whose `.yaml`, `.yml` and `.json` files are manifests. API descriptions may stand
    beside the manifests that refer to them; hidden files and folders are left alone."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises InvalidInput for a path that does not exist."""
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            raise InvalidInput(
                f"no such catalogue file or folder: {', '.join(missing)}; check --catalogue or CATALOGUE_PATH"
            )
        self._paths = tuple(paths)
        self._single_files = tuple(path for path in paths if path.is_file())
        self._seen: dict[Path, tuple[int, int]] = {}

    async def read(self) -> Sequence[ManifestDocument]:
        self._seen = self._stamps(self._paths)
        return [document for path in sorted(self._seen) for document in _documents(path)]

    async def changes(self) -> AsyncIterator[None]:
        # The first tick compares with what was read last: a change made before the watch began is not missed.
        is_first = True
        async for changes in awatch(*self._paths, yield_on_timeout=True, rust_timeout=_CHECK_MILLISECONDS):
            if changes or (self._stamps(self._paths) != self._seen if is_first else self._has_replaced_file()):
                yield
            is_first = False

    def _has_replaced_file(self) -> bool:
        """A file that is watched by itself is lost to the watch when an editor renames another over it, so such files
        are also looked at."""
        seen = {path: self._seen[path] for path in self._single_files if path in self._seen}
        return self._stamps(self._single_files) != seen

    def _stamps(self, roots: Sequence[Path]) -> dict[Path, tuple[int, int]]:
        stamps: dict[Path, tuple[int, int]] = {}
        for path in _files(roots):
            try:
                stat = path.stat()
            except OSError:
                continue  # vanished between listing and looking
            stamps[path] = (stat.st_mtime_ns, stat.st_size)
        return stamps


def _files(roots: Sequence[Path]) -> Iterator[Path]:
    for root in roots:
        if root.is_file():
            yield root
            continue
        for path in root.rglob("*"):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.suffix.lower() in _SUFFIXES and not hidden and path.is_file():
                yield path


def _documents(path: Path) -> list[ManifestDocument]:
    origin = str(path)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if _API_DESCRIPTION.search(head) and not _MANIFEST.search(head):
                return []
            text = head + file.read(SIZE_LIMIT)
        if len(text) > SIZE_LIMIT:
            return [ManifestDocument(origin, None, f"larger than {SIZE_LIMIT} bytes")]
        contents = _parse(path, text)
    except OSError as caught:
        return [ManifestDocument(origin, None, f"cannot be read: {caught.strerror}")]
    except (yaml.YAMLError, ValueError, RecursionError) as caught:
        return [ManifestDocument(origin, None, reason(caught))]
    return [
        ManifestDocument(f"{origin}#{number}", content, base_directory=str(path.parent))
        if is_object(content)
        else ManifestDocument(f"{origin}#{number}", None, "expected a mapping with apiVersion, kind, metadata and spec")
        for number, content in enumerate(contents, 1)
    ]


def _parse(path: Path, text: bytes) -> list[Any]:
    """Raises yaml.YAMLError or ValueError."""
    if path.suffix.lower() == ".json":
        return [pydantic_core.from_json(text, allow_inf_nan=False)]
    return load_all(text)
