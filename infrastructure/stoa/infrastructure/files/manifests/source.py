"""Manifests from YAML and JSON files, one or many documents a file, in folder trees, watched for changes."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

from stoa.application.concurrency.pace import paced
from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput
from stoa.domain.origin import FileOrigin
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.documents import NO_MAPPING
from stoa.infrastructure.files.manifests.reading import SIZE_LIMIT, contents_of

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_API_DESCRIPTION = re.compile(rb"""^\s*[{,]?\s*["']?(openapi|swagger|asyncapi)["']?\s*:""", re.MULTILINE)
_MANIFEST = re.compile(rb"""["']?apiVersion["']?\s*:\s*["']?gostoa\.dev/""")
"""A ToolSet with an inline description is a manifest all the same."""
_CHECK_MILLISECONDS = 500
_FRAME = frozenset({"apiVersion", "kind", "metadata", "spec"})
_NOTHING_LEFT = "holds no manifest any more; delete the file to remove its tools"

_Identity = tuple[int, int]
"""Device and number of a file or folder."""


_Owned = tuple[str, TenantId | None]
"""The folder whose files a manifest may name, and who wrote it."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """Documents of a file of this digest (SHA-256) and owner."""

    digest: bytes
    owned: _Owned
    documents: tuple[ManifestDocument, ...]
    is_description: bool = False
    """True for an API description, which is no manifest."""


class FileToolSource(ToolSource):
    """`entries`: files, and folders whose `.yaml`, `.yml` and `.json` files are manifests. API descriptions may stand
    beside the manifests that refer to them, with their further files in the same folder and below it; hidden files and
    folders are left alone.

    An entry with a tenant is written by this tenant's team, any other by the platform. Of several that hold a file the
    innermost counts. A file that is a link out of its entry is refused: it would be read in another's name.

    A file that is deleted takes its manifests with it. One whose folder is away as a whole, as a volume that is no
    longer mounted, that became a link to nothing, or in which nothing is left, has a problem instead.

    Files are parsed by `executor`, one by one, and again only when their bytes changed. A large inline API description
    is handed over as JSON text.
    """

    def __init__(
        self, entries: Sequence[Path | tuple[Path, TenantId | None]], executor: BoundedExecutor | None = None
    ) -> None:
        """Raises InvalidInput for a path that does not exist, or has two owners."""
        owned = [entry if isinstance(entry, tuple) else (entry, None) for entry in entries]
        paths = [path for path, _ in owned]
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            raise InvalidInput(
                f"no such catalogue file or folder: {', '.join(missing)}; check --catalogue or CATALOGUE_PATH"
            )
        self._owners: dict[Path, TenantId | None] = {}
        """By place: the entries of the catalogue path, and who writes there."""
        for path, tenant in owned:
            if self._owners.setdefault(_place(path), tenant) != tenant:
                raise InvalidInput(f"{path}: has two owners in the catalogue path; give each a folder of its own")
        self._paths = tuple(paths)
        self._single_files = tuple(path for path in paths if path.is_file())
        self._seen: dict[Path, tuple[int, int]] = {}
        self._executor = executor or InThreadExecutor()
        self._readings: dict[Path, _Reading] = {}
        self._folders: dict[Path, _Identity] = {}
        """Those that held files when they were read."""

    async def read(self) -> Sequence[ManifestDocument]:
        self._seen = await asyncio.to_thread(self._stamps, self._paths)
        readings: dict[Path, _Reading] = {}
        documents: list[ManifestDocument] = []
        for path, owned in (await asyncio.to_thread(self._owned_files)).items():
            if owned is None:
                documents.append(_unreadable(path, "is a link that leads out of its catalogue folder", ("", None)))
                continue
            readings[path] = await self._reading(path, owned, self._readings.get(path))
            documents += readings[path].documents
        described = {path.parent for path, reading in readings.items() if reading.is_description}
        if described:
            documents = _without_fragments(documents, described)
        for path, problem in (await asyncio.to_thread(self._away)).items():
            readings[path] = self._readings[path]
            documents.append(_unreadable(path, problem, readings[path].owned))
        self._readings = readings
        self._folders |= await asyncio.to_thread(lambda: _identities(self._folders_of(self._seen)))
        return documents

    def _folders_of(self, files: Iterable[Path]) -> set[Path]:
        """From the one that a file lies in up to its entry."""
        found: set[Path] = set()
        for path in files:
            for folder in path.parents:
                if folder in found:
                    break
                found.add(folder)
                if folder in self._paths:
                    break
        return found

    def _away(self) -> dict[Path, str]:
        """The files that held manifests and are not there, although nobody deleted them, and why not."""
        missing = [path for path, known in self._readings.items() if path not in self._seen and known.documents]
        return {path: problem for path in missing if (problem := self._why_away(path))}

    def _why_away(self, path: Path) -> str:
        if path.is_symlink():
            return "is a link to a file that is not there"
        entry = next((entry for entry in self._paths if entry in path.parents), None)
        if entry is None:
            return ""  # an entry by itself
        folder = next((one for one in path.parents if _identity_of(one) is not None), entry)
        try:
            is_empty = not os.listdir(folder)  # noqa: PTH208  # says which error it is, and reads no more than names
        except OSError as caught:
            return f"its folder {folder} cannot be read: {caught.strerror}"
        if entry not in (folder, *folder.parents):
            return f"its folder {entry} is not there; delete single files to remove their tools"
        if is_empty and _identity_of(folder) != self._folders.get(folder):
            return f"its folder {folder} is another one than before, and empty; is the volume mounted?"
        return ""

    def _owned_files(self) -> dict[Path, _Owned | None]:
        """Each file once, with the folder whose files it may name and who wrote it; None: it is a
        link to what somebody else wrote."""
        places = {_place(path): path for path in sorted(self._seen, reverse=True)}
        return {path: self._owned(place, path) for place, path in reversed(places.items())}

    def _owned(self, place: Path, path: Path) -> _Owned | None:
        root = self._root_of(place)
        if root is None or (root != place and not self._belongs(path.resolve(), self._owners[root])):
            return None
        return str(path.parent if root == place else root), self._owners[root]

    def _belongs(self, path: Path, owner: TenantId | None) -> bool:
        root = self._root_of(path)
        return root is not None and self._owners[root] == owner

    def _root_of(self, path: Path) -> Path | None:
        """The innermost entry that holds this place."""
        return next((place for place in (path, *path.parents) if place in self._owners), None)

    async def _reading(self, path: Path, owned: _Owned, known: _Reading | None) -> _Reading:
        """Read the file; returns the reading that is known if it did not change, so that ten thousand manifests are not
        made anew because of a file beside them."""
        text = await asyncio.to_thread(_text_of, path)
        if isinstance(text, str):
            return _Reading(b"", owned, (_unreadable(path, text, owned),))
        if text is None:
            return _Reading(b"", owned, (), is_description=True)
        digest = await asyncio.to_thread(_digest_of, text)
        if known is not None and (known.digest, known.owned) == (digest, owned):
            return known
        try:
            contents = await self._executor.run(contents_of, text, is_json=path.suffix.lower() == ".json")
        except InvalidInput as refused:
            return _Reading(digest, owned, (_unreadable(path, refused.message, owned),))
        if not contents and known is not None and known.documents:
            return _Reading(digest, owned, (_unreadable(path, _NOTHING_LEFT, owned),))
        return _Reading(digest, owned, await asyncio.to_thread(_documents_of, path, contents, owned))

    async def changes(self) -> AsyncIterator[None]:
        while True:
            present = await asyncio.to_thread(_identities, self._paths)
            # The first tick compares with what was read last: a change made before the watch began is not missed.
            is_first = True
            async with aclosing(_ticks(present)) as ticks:
                async for has_changed in ticks:
                    if has_changed or await asyncio.to_thread(self._has_changed, is_first=is_first):
                        yield
                    is_first = False
                    if await asyncio.to_thread(_identities, self._paths) != present:
                        break  # a watch does not follow a folder that is made anew
            yield

    def _has_changed(self, *, is_first: bool) -> bool:
        """A file that is watched by itself is lost to the watch when an editor renames another over it, so such files
        are looked at each time."""
        if is_first:
            return self._stamps(self._paths) != self._seen
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


def _unreadable(path: Path, problem: str, owned: _Owned) -> ManifestDocument:
    """Stands for all manifests of the file."""
    root, tenant = owned
    return ManifestDocument(FileOrigin(str(path)), None, problem, root=root, tenant=tenant)


def _place(path: Path) -> Path:
    """Where a file or folder itself lies, links on the way followed; a link to a folder is the folder."""
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def _files(roots: Sequence[Path]) -> Iterator[Path]:
    for root in roots:
        if root.is_file():
            yield root
            continue
        for path in root.rglob("*"):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.suffix.lower() in _SUFFIXES and not hidden and path.is_file():
                yield path


def _identity_of(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _identities(paths: Iterable[Path]) -> dict[Path, _Identity]:
    """Of those that are there."""
    return {path: identity for path in paths if (identity := _identity_of(path)) is not None}


async def _ticks(paths: Collection[Path]) -> AsyncGenerator[bool]:
    """Has anything changed below these paths? Asked again and again."""
    if not paths:
        while True:
            await asyncio.sleep(_CHECK_MILLISECONDS / 1000)
            yield False
    with suppress(FileNotFoundError):  # removed since it was looked at
        async for changes in awatch(*paths, yield_on_timeout=True, rust_timeout=_CHECK_MILLISECONDS):
            yield bool(changes)


def _text_of(path: Path) -> bytes | str | None:
    """The bytes of a manifest file; None of an API description; as `str`, why they cannot be had."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if _API_DESCRIPTION.search(head) and not _MANIFEST.search(head):
                return None
            text = head + file.read(SIZE_LIMIT)
    except OSError as caught:
        return f"cannot be read: {caught.strerror}"
    return f"larger than {SIZE_LIMIT} bytes" if len(text) > SIZE_LIMIT else text


def _documents_of(path: Path, contents: Iterable[JsonObject | str], owned: _Owned) -> tuple[ManifestDocument, ...]:
    file, base = str(path), str(path.parent)
    root, tenant = owned
    return tuple(
        ManifestDocument(FileOrigin(file, number), None, content, root=root, tenant=tenant)
        if isinstance(content, str)
        else ManifestDocument(FileOrigin(file, number), content, base_directory=base, root=root, tenant=tenant)
        for number, content in enumerate(paced(contents), 1)  # a file may hold ten thousand
    )


def _without_fragments(documents: Iterable[ManifestDocument], described: Collection[Path]) -> list[ManifestDocument]:
    """The documents without those that are parts of an API description: they have none of the members of a manifest,
    and lie in the folder of a description or below it."""
    return [one for one in documents if not (_is_fragment(one) and _lies_in(one, described))]


def _is_fragment(document: ManifestDocument) -> bool:
    if document.content is None:
        return document.problem == NO_MAPPING
    return _FRAME.isdisjoint(document.content)


def _lies_in(document: ManifestDocument, folders: Collection[Path]) -> bool:
    return any(folder in folders for folder in Path(str(document.origin.whole)).parents)


def _digest_of(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
