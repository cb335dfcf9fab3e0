"""A policy bundle as `opa build -t wasm` writes it: a gzipped tar with /policy.wasm, /data.json and /.manifest."""

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pydantic_core

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, is_object

MAX_BYTES = 64 * 1024 * 1024
_WASM, _DATA = "policy.wasm", "data.json"


@dataclass(frozen=True, slots=True)
class PolicyBundle:
    wasm: bytes
    data: JsonObject
    digest: str
    """SHA-256 of the file, in hex."""


def read_bundle(path: Path) -> PolicyBundle:
    """Reads a bundle file. Raises InvalidInput, naming the file."""
    try:
        packed = path.read_bytes()
        members = _members(packed)
    except OSError as caught:
        raise InvalidInput(f"{path}: cannot be read: {caught.strerror or caught}") from caught
    except (tarfile.TarError, EOFError, ValueError) as caught:
        raise InvalidInput(f"{path}: not a policy bundle; make one with opa build -t wasm") from caught
    if _WASM not in members:
        raise InvalidInput(f"{path}: has no /policy.wasm; build the bundle with opa build -t wasm")
    try:
        data = pydantic_core.from_json(members.get(_DATA, b"{}"))
    except ValueError as caught:
        raise InvalidInput(f"{path}: its data.json is not JSON") from caught
    if not is_object(data):
        raise InvalidInput(f"{path}: its data.json must be an object")
    return PolicyBundle(members[_WASM], data, hashlib.sha256(packed).hexdigest())


def _members(packed: bytes) -> dict[str, bytes]:
    """The two required files by name, without the leading slash. Unpacking is bounded, because a small archive may
    unpack to a large one."""
    if len(packed) > MAX_BYTES:
        raise ValueError("too large")
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        for member in archive:
            name = member.name.lstrip("./")
            if name not in {_WASM, _DATA} or not member.isfile():
                continue
            file = archive.extractfile(member)
            if file is None or member.size > MAX_BYTES:
                raise ValueError("too large")
            members[name] = file.read()
    return members
