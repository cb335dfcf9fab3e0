"""Bundles made without opa: WebAssembly text that misbehaves, packed as `opa build` packs."""

import io
import json
import tarfile
from pathlib import Path

import wasmtime

_HEAD = """(module
  (import "env" "memory" (memory 2))
  (import "env" "opa_abort" (func $abort (param i32)))
  (func (export "opa_malloc") (param i32) (result i32) (i32.const 65536))
  (func (export "opa_json_parse") (param i32 i32) (result i32) (i32.const 8))
  (func (export "opa_heap_ptr_get") (result i32) (i32.const 70000))
  (func (export "opa_json_dump") (param i32) (result i32) (local.get 0))
  (func (export "builtins") (result i32) (i32.const 1024))
  (func (export "entrypoints") (result i32) (i32.const 2048))
  (func (export "opa_eval") (param i32 i32 i32 i32 i32 i32 i32) (result i32) %s)
  (data (i32.const 1024) "%s\\00")
  (data (i32.const 2048) "%s\\00")
  (data (i32.const 3072) "%s\\00"))"""
ENTRYPOINTS = {"stoa/authz/decision": 0, "stoa/visibility/visible": 1}
ANSWERS = "(i32.const 3072)"
LOOPS = "(loop $again (br $again)) (unreachable)"
TRAPS = "(unreachable)"
ABORTS = "(call $abort (i32.const 3072)) (i32.const 3072)"


def module(
    body: str = ANSWERS, *, result: object = (), builtins: object = None, entrypoints: object = ENTRYPOINTS
) -> bytes:
    """A policy module whose decisions are `result`, or whatever `body` does."""

    def quoted(value: object) -> str:
        return json.dumps(value).replace("\\", "\\5c").replace('"', "\\22")

    text = _HEAD % (body, quoted(builtins or {}), quoted(entrypoints), quoted(result))
    return bytes(wasmtime.wat2wasm(text))


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def bundle_file(path: Path, wasm: bytes) -> Path:
    return pack(path, {"/policy.wasm": wasm, "/data.json": b"{}"})
