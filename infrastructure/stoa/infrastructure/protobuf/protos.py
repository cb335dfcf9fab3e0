""".proto files to a descriptor set, with the protoc that grpcio-tools brings.

Files are read through the ToolSet's place, so within what its author may read, and compiled from copies in a folder of
their own by a process that ends in time. What protobuf and googleapis-common-protos ship is found without being named.
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from stoa.application.ports import SpecDocument
from stoa.domain.errors import InvalidInput

MAX_FILES = 1000
MAX_BYTES = 16 * 1024 * 1024
TIMEOUT_SECONDS = 30.0
_ANCESTORS = 12
_IMPORT = re.compile(r"""(?:^|;)\s*import\s+(?:public\s+|weak\s+)?["']([^"'\\\n]{1,500})["']\s*(?=;)""", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)

_LOG_LINE = re.compile(r"WARNING: All log messages|[IWEF]\d{4} ")

Read = Callable[[str], Awaitable[SpecDocument]]


async def descriptor_set_of(protos: tuple[str, ...], includes: tuple[str, ...], read: Read) -> bytes:
    """A serialised FileDescriptorSet with imports and comments. Raises InvalidInput, with protoc's words, or
    Unavailable."""
    files: dict[str, str] = {}
    roots = [_joined(include, "") for include in includes]
    for proto in protos:
        document = await read(proto)
        roots += [root for root in _ancestors(proto) if root not in roots]
        files[_import_path(proto, includes)] = document.text
    names = [*files]
    shipped = [folder for folder in _shipped() if folder.is_dir()]
    waiting = [*files.values()]
    found_in: list[str] = []
    for text in waiting:  # grows while it is walked
        for path in _IMPORT.findall(_COMMENT.sub("", text)):
            if path in files or not _is_plain(path) or any((folder / path).is_file() for folder in shipped):
                continue
            files[path] = await _imported(path, [*found_in, *roots], read, found_in)
            waiting.append(files[path])
            if len(files) > MAX_FILES or sum(map(len, files.values())) > MAX_BYTES:
                raise InvalidInput(f"{protos[0]}: imports more than {MAX_FILES} files or {MAX_BYTES} bytes")
    return await _compiled(names, files, shipped)


async def compiled(main: str, files: Mapping[str, str]) -> bytes:
    """A serialised FileDescriptorSet of `main`, one of `files` by the names that they import each other by; it comes
    last. Raises InvalidInput, with protoc's words."""
    for name in files:
        if not _is_plain(name):
            raise InvalidInput(f"{name[:200]!r} is no name that a file is imported by")
    return await _compiled([main], files, [folder for folder in _shipped() if folder.is_dir()])


async def _imported(path: str, roots: list[str], read: Read, found_in: list[str]) -> str:
    """The text of an import; the folder it was found in is looked at first for the next one."""
    for root in dict.fromkeys(roots):
        try:
            document = await read(_joined(root, path))
        except InvalidInput:
            continue  # not there, or outside what the author may read
        if root not in found_in:
            found_in.append(root)
        return document.text
    raise InvalidInput(f'import "{path}" is in none of the folders; name the one that it starts from in includes')


async def _compiled(names: list[str], files: Mapping[str, str], shipped: list[Path]) -> bytes:
    if find_spec("grpc_tools") is None:
        raise InvalidInput(".proto files need the extra grpc: pip install 'stoa-mcp-gateway[grpc]'")
    with tempfile.TemporaryDirectory(prefix="stoa-protos-") as folder:
        out = Path(folder) / "out.binpb"
        source = Path(folder) / "source"
        await asyncio.to_thread(_write, source, files)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "grpc_tools.protoc", f"-I{source}"),
            *(f"-I{path}" for path in shipped),
            *("--include_imports", "--include_source_info", f"--descriptor_set_out={out}"),
            *(str(source / name) for name in names),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={},
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                _, errors = await process.communicate()
        except TimeoutError:
            raise InvalidInput(f"{names[0]}: protoc took more than {TIMEOUT_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            words = errors.decode("utf-8", "replace").replace(f"{source}/", "").replace(str(source), "")
            lines = [line for line in words.splitlines() if not _LOG_LINE.match(line)] or [words]
            raise InvalidInput(f"protoc: {' '.join(' '.join(lines).split())[:1000]}")
        return await asyncio.to_thread(out.read_bytes)


def _write(source: Path, files: Mapping[str, str]) -> None:
    source.mkdir()
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _shipped() -> list[Path]:
    """Folders with google/protobuf and google/api."""
    tools, apis = find_spec("grpc_tools"), find_spec("google.api")
    folders = [Path(place) / "_proto" for place in (tools and tools.submodule_search_locations) or ()]
    return folders + [Path(place).parents[1] for place in (apis and apis.submodule_search_locations) or ()]


def _is_plain(path: str) -> bool:
    """No part of it climbs or is absolute: copies are written by this name. protoc says what is wrong with others."""
    return not path.startswith("/") and "\\" not in path and ".." not in PurePosixPath(path).parts


def _import_path(location: str, includes: tuple[str, ...]) -> str:
    """The name that others import the file by: below the include that it lies in, else its own."""
    for include in includes:
        prefix = _joined(include, "")
        if location.startswith(prefix) and _is_plain(location[len(prefix) :]):
            return location[len(prefix) :]
    return location.rpartition("/")[2] or location


def _ancestors(location: str) -> list[str]:
    """The folder of a file or URL, and those around it: imports start at one of them."""
    scheme, mark, rest = location.rpartition("://")
    head = f"{scheme}{mark}"
    parts = rest.split("/")[:-1]
    least = 1 if mark else 0  # the host of a URL is no folder
    found = ["/".join(parts[:count]) for count in range(len(parts), max(least, len(parts) - _ANCESTORS) - 1, -1)]
    return [f"{head}{folder}/" if folder else "" for folder in found]


def _joined(folder: str, path: str) -> str:
    folder = folder.rstrip("/")
    return f"{folder}/{path}" if folder else path
