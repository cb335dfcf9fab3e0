"""Machine code of policies, kept on disk: compiling takes a hundred times as long as loading."""

import hashlib
import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import wasmtime

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.opa.wasm import Compiler

_SEAL_BYTES = 32
_COMPILER = """
import sys
from stoa.infrastructure.opa.wasm import Compiler
sys.stdout.buffer.write(Compiler().compile(sys.stdin.buffer.read()).serialize())
"""


class ModuleCache:
    """`directory` must be this process's own: what lies there is run. Files are bound to the policy's digest, the
    version of wasmtime and the kind of machine; damaged ones are compiled anew."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def module(self, compiler: Compiler, wasm: bytes) -> wasmtime.Module:
        """Raises InvalidInput when it is no WebAssembly."""
        path = self._directory / "-".join([hashlib.sha256(wasm).hexdigest(), version("wasmtime"), platform.machine()])
        try:
            kept = path.read_bytes()
            seal, code = kept[:_SEAL_BYTES], kept[_SEAL_BYTES:]
            if hashlib.sha256(code).digest() == seal:
                return compiler.load(code)
        except (OSError, InvalidInput):
            pass  # not there, or of another build: made below
        made = _compiled_aside(wasm)
        module = compiler.compile(wasm) if made is None else compiler.load(made)
        self._keep(path, bytes(module.serialize()))
        return module

    def _keep(self, path: Path, code: bytes) -> None:
        with suppress(OSError):  # a read-only disk costs time at the next start, nothing else
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_name(f"{path.name}.{os.getpid()}")
            draft.touch(mode=0o600)
            draft.write_bytes(hashlib.sha256(code).digest() + code)
            draft.replace(path)


def _compiled_aside(wasm: bytes) -> bytes | None:
    """Machine code, made by another process: compiling leaves 15 MiB behind, for as long as the process lives. None:
    try it here."""
    try:
        made = subprocess.run(  # noqa: S603  # nothing of the caller's: this Python, and a program of ours
            [sys.executable, "-c", _COMPILER], input=wasm, capture_output=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return made.stdout
