"""A cache of compiled policies on disk: compiling takes a hundred times as long as loading.

The machine code runs unchecked, so it is loaded only if this process's user owns the file, no other user may write it,
and it carries a digest keyed with the deployment's secret. Any other file is compiled anew and replaced.
"""

import hashlib
import hmac
import logging
import os
import platform
import secrets
import stat
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import wasmtime

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.opa.wasm import CONFIGURATION, Compiler

_SEAL_BYTES = 32
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_COMPILER = """
import sys
from stoa.infrastructure.opa.wasm import Compiler
sys.stdout.buffer.write(Compiler().compile(sys.stdin.buffer.read()).serialize())
"""

_log = logging.getLogger(__name__)


class _Distrusted(Exception):
    """A cached file must not be loaded; the text gives the reason, for the log."""


class ModuleCache:
    """Compiled policies of one deployment. A file is bound to the policy's digest, the version and configuration of
    wasmtime, the kind of machine, and the deployment's `secret`."""

    def __init__(self, directory: Path, secret: bytes) -> None:
        self._directory = directory
        self._key = hmac.digest(secret, b"stoa compiled policies", "sha256")

    def module(self, compiler: Compiler, wasm: bytes) -> wasmtime.Module:
        """The compiled module, from the cache if possible. Raises InvalidInput if `wasm` is not WebAssembly."""
        build = (hashlib.sha256(wasm).hexdigest(), version("wasmtime"), CONFIGURATION, platform.machine())
        path = self._directory / "-".join(build)
        try:
            return compiler.load(self._read(path))
        except FileNotFoundError:
            pass  # made below, as are those of another build
        except (OSError, InvalidInput, _Distrusted) as caught:
            problem = caught.strerror if isinstance(caught, OSError) else str(caught)
            _log.warning("a compiled policy is made anew: %s: %s", path, problem)
        machine_code = _compiled_aside(wasm)
        module = compiler.compile(wasm) if machine_code is None else compiler.load(machine_code)
        self._keep(path, bytes(module.serialize()))
        return module

    def _read(self, path: Path) -> bytes:
        """Reads machine code from a cached file. Raises OSError and _Distrusted."""
        self._check_directory()
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
                raise _Distrusted("it is not a file that only this user may write")
            content = file.read()
        seal, code = content[:_SEAL_BYTES], content[_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal(path, code)):
            raise _Distrusted("its digest is not one of this deployment")
        return code

    def _check_directory(self) -> None:
        """Raises OSError, and _Distrusted for a folder in which another user may create files."""
        status = self._directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise _Distrusted("its folder is not one that belongs to this user; remove it")
        if status.st_mode & _OTHERS_WRITE:
            self._directory.chmod(0o700)
            raise _Distrusted("its folder could be written by others, which was mended")

    def _keep(self, path: Path, code: bytes) -> None:
        with suppress(OSError, _Distrusted):  # a read-only disk costs time at the next start, nothing else
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_directory()
            draft = path.with_name(f".{secrets.token_hex(8)}.draft")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._seal(path, code) + code)
            draft.replace(path)

    def _seal(self, path: Path, code: bytes) -> bytes:
        """The keyed digest of a file. It covers the name too, so that code of one policy cannot pass for that of
        another."""
        return hmac.digest(self._key, hashlib.sha256(path.name.encode()).digest() + code, "sha256")


def _compiled_aside(wasm: bytes) -> bytes | None:
    """Compiles in another process, because compiling leaks 15 MiB for the life of the process. None: compile in this
    process instead."""
    try:
        # Nothing of the caller's: this Python, and a program of ours; -P: never a module of the working directory.
        compilation = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-c", _COMPILER], input=wasm, capture_output=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return compilation.stdout
