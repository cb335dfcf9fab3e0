"""The further files of a description in several: finds the files that a document refers to, and reads them.

References are found in the text, before anything is parsed: parsing what others wrote is work for the worker process.
Text that only looks like a reference costs a file that is read in vain.
"""

import asyncio
import posixpath
import re
from dataclasses import replace
from urllib.parse import quote, unquote, urljoin, urlsplit

from stoa.application.ports import ReadDocument, SpecDocument, SpecFile
from stoa.domain.errors import InvalidInput

FILES_LIMIT = 4000
"""Files of one description."""
REMOTE_FILES_LIMIT = 400
BYTES_LIMIT = 64 * 1024 * 1024
"""Characters of all files of one description."""
DEPTH_LIMIT = 50
"""Steps from file to file, from the document itself."""
_AT_ONCE = 8
_REFERENCE = re.compile(
    r"""\$ref["']?\s*:\s*(?:[>|][-+]?\s+)?(?:"([^"#\n]+)|'([^'#\n]+)|([^\s"'#,{}\[\]][^\s#,{}]*))"""
)


async def with_files(document: SpecDocument, address: str, folder: str | None, read: ReadDocument) -> SpecDocument:
    """The document that was read at `address`, with the files below `folder` (None: its own folder) that it needs.
    A file that cannot be read is there with its problem. Raises Unavailable for one that cannot be reached now."""
    is_remote = address.startswith(("http://", "https://"))
    path = re.split(r"[?#]", address, maxsplit=1)[0] if is_remote else address.replace("\\", "/")
    own_folder, _, own_name = path.rpartition("/")
    root = own_folder if folder is None or is_remote else folder.replace("\\", "/").rstrip("/")
    name = own_name if root == own_folder else posixpath.relpath(path, root or ".")
    files = _Files(root, name, is_remote=is_remote, is_absolute=path.startswith("/"), read=read)
    waiting = await asyncio.to_thread(files.new_in, document.text, name)
    for _ in range(DEPTH_LIMIT):
        if not waiting:
            break
        waiting = await files.follow(waiting)
    for late in waiting:
        files.content[late] = SpecFile(late, "", f"is more than {DEPTH_LIMIT} files away from the document")
    if not files.content:
        return document
    # The version is that of the document alone, and one of the files may have changed.
    return replace(document, name=name, files=tuple(files.content.values()), version="")


def named_file(reference: str, within: str, folder_url: str = "") -> str | None:
    """The path below the folder of the file that a reference in the file `within` names; None: it lies elsewhere."""
    file = reference.partition("#")[0].replace("\\", "/")
    if folder_url and file.startswith(f"{folder_url}/"):
        within, file = "", file.removeprefix(f"{folder_url}/")
    if urlsplit(file).scheme or file.startswith("/") or "?" in file:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(within), unquote(file)))
    return None if path in {".", ".."} or path.startswith(("../", "/")) else path


class _Files:
    """The files that were read, by name."""

    def __init__(self, folder: str, main: str, *, is_remote: bool, is_absolute: bool, read: ReadDocument) -> None:
        self.content: dict[str, SpecFile] = {}
        self._seen = {main}
        self._folder = folder
        self._is_remote = is_remote
        self._root = folder or ("/" if is_absolute else ".")
        self._read = read
        self._room = BYTES_LIMIT
        self._limit = REMOTE_FILES_LIMIT if is_remote else FILES_LIMIT

    def new_in(self, text: str, within: str) -> list[str]:
        """The names of files that the text of the file `within` refers to, without those named earlier."""
        names: list[str] = []
        for match in _REFERENCE.finditer(text):
            written = (match[1] or match[2] or match[3]).replace("\\/", "/").strip()
            name = named_file(written, within, self._folder if self._is_remote else "")
            if name is not None and name not in self._seen:
                self._seen.add(name)
                names.append(name)
        return names

    async def follow(self, names: list[str]) -> list[str]:
        """Reads these files; returns the names that occur in them and are new."""
        following: list[str] = []
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            for file in await asyncio.gather(*(self._file(name) for name in part)):
                self._room -= len(file.text)
                if len(self.content) >= self._limit or self._room < 0:
                    problem = f"is left out: a description may have {self._limit} files, of {BYTES_LIMIT} bytes in all"
                    self.content[file.name] = SpecFile(file.name, "", problem)
                    return []
                self.content[file.name] = file
                following += await asyncio.to_thread(self.new_in, file.text, file.name)
        return following

    async def _file(self, name: str) -> SpecFile:
        try:
            if self._is_remote:
                document = await self._read(urljoin(f"{self._folder}/", quote(name)))
            else:
                document = await self._read(posixpath.join(self._folder, name), root=self._root)
        except InvalidInput as problem:
            return SpecFile(name, "", problem.message)
        return SpecFile(name, document.text)
