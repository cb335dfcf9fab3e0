"""Files that an AsyncAPI document refers to, fetched with it: schemas as they are, .proto files as descriptors.

A description does not choose what is read on its reader's machine: files are read below the document's folder only.
Converting is pure and runs where no program can be started, so protoc runs here.
"""

import asyncio
import base64
import hashlib
import posixpath
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import pydantic_core

from stoa.application.ports import SpecDocument, SpecPlace
from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import is_array, objects_in
from stoa.infrastructure.documents import DocumentProblem, read_value

MAX_FILES = 50
"""Files that a document may refer to, its .proto sources included."""
MAX_CHARACTERS = 16 * 1024 * 1024
"""Upper bound on the characters of all these files together."""
MAX_SOURCES_CHARACTERS = 1024 * 1024
"""Upper bound on a document that is searched for .proto sources: the search runs in the gateway's own process."""
_OUTSIDE = re.compile(r"""\$ref["']?\s*:\s*["']?([^\s"'#{},]+)""")
_SOURCE = re.compile(r"\bmessage\s+[A-Za-z_]\w*\s*\{")
_INLINE = "document.proto"
_PROBLEM = "!"


def resolved_reference(base: str, reference: str) -> str:
    """A reference of the file `base` (empty: the document), without its fragment, as one of the document."""
    place = urljoin(base, reference)
    return place if urlsplit(place).scheme else posixpath.normpath(place)


def with_files(text: str, files: Mapping[str, str]) -> str:
    """A document and the files that it refers to, by their references, in one text."""
    return pydantic_core.to_json({"document": text, "parts": dict(files)}).decode()


def taken_apart(text: str) -> tuple[str, Mapping[str, str]]:
    """Inverse of `with_files`; any other text is a document alone."""
    if not text.startswith('{"document":'):
        return text, {}
    try:
        together = pydantic_core.from_json(text)
        return str(together["document"]), {str(key): str(part) for key, part in together["parts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return text, {}


def source_name(source: str) -> str:
    """The name of the descriptors of a .proto source that stands in a document."""
    return f"sha256:{hashlib.sha256(source.encode('utf-8', 'surrogatepass')).hexdigest()}"


def descriptors_in(files: Mapping[str, str], name: str) -> str:
    """A FileDescriptorSet in base64. Raises InvalidInput with the reason why there is none."""
    found = files.get(name)
    if found is None:
        raise InvalidInput("it is not there, or not below the document's folder")
    if found.startswith(_PROBLEM):
        raise InvalidInput(found.removeprefix(_PROBLEM))
    return found


async def with_referenced_files(document: SpecDocument, url: str, place: SpecPlace) -> SpecDocument:
    """The document with the files that it refers to, as far as the manifest's author may read them; what cannot be read
    is told with the operations that need it. `url`: where the document was read; empty: in the manifest itself. Raises
    Unavailable."""
    files = await _Files(url, place).of(document.text)
    if not files:
        return document
    return SpecDocument(document.location, with_files(document.text, files), "application/json")


class _Files:
    def __init__(self, url: str, place: SpecPlace) -> None:
        self._url = url
        self._place = place
        self._files: dict[str, str] = {}

    async def of(self, text: str) -> Mapping[str, str]:
        await self._sources(text)
        waiting = _references(text, "")
        for name in waiting:  # grows while it is walked
            if len(self._files) >= MAX_FILES or sum(map(len, self._files.values())) > MAX_CHARACTERS:
                break
            if name in self._files:
                continue
            if name.endswith(".proto"):
                self._files[name] = await self._compiled(name, None)
                continue
            try:
                found = await self._read(name)
            except InvalidInput:
                continue
            self._files[name] = found.text
            if found.media_type != "application/octet-stream":
                waiting += _references(found.text, name)
                await self._sources(found.text)
        return self._files

    async def _sources(self, text: str) -> None:
        """Compiles the .proto sources that stand in a file."""
        if "protobuf" not in text.lower() or len(text) > MAX_SOURCES_CHARACTERS:
            return
        for source in await asyncio.to_thread(_proto_sources, text):
            if len(self._files) < MAX_FILES:
                self._files[source_name(source)] = await self._compiled(_INLINE, source)

    async def _compiled(self, name: str, source: str | None) -> str:
        """`source` None: it is read. In base64, or the reason why there are no descriptors."""
        try:
            from stoa.infrastructure.protobuf.protos import descriptor_set_of  # for those who have such files

            async def read(location: str) -> SpecDocument:
                is_source = source is not None and location == _INLINE
                return SpecDocument(_INLINE, source or "") if is_source else await self._read(location)

            return base64.b64encode(await descriptor_set_of((name,), (), read)).decode("ascii")
        except InvalidInput as problem:
            return f"{_PROBLEM}{problem.message}"

    async def _read(self, name: str) -> SpecDocument:
        """Raises InvalidInput or Unavailable."""
        location = urljoin(self._url, name)
        is_url = urlsplit(location).scheme in {"http", "https"}
        if not is_url and (urlsplit(location).scheme or posixpath.normpath(name).startswith(("/", ".."))):
            raise InvalidInput(f"{name[:200]}: is not below the document's folder")
        return await self._place.read(location)


def _references(text: str, base: str) -> list[str]:
    return [*dict.fromkeys(resolved_reference(base, reference) for reference in _OUTSIDE.findall(text))]


def _proto_sources(text: str) -> list[str]:
    """Texts with messages, wherever they stand: a schema may be referred to."""
    try:
        content: Any = read_value(text)
    except DocumentProblem:
        return []  # the converter tells it
    found: dict[str, None] = {}
    for part in objects_in(content):
        for value in part.values():
            for entry in value if is_array(value) else (value,):
                if isinstance(entry, str) and _SOURCE.search(entry):
                    found[entry] = None
    return [*found]
