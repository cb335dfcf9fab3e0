"""Compiled policies on disk are native code: loaded when they are ours, made anew otherwise."""

import logging
import os
from pathlib import Path

import pytest

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.opa.bundle import read_bundle
from stoa.infrastructure.opa.embedded import DEFAULT_BUNDLE, OpaWasmPolicyEngine
from stoa.infrastructure.opa.module_cache import ModuleCache
from stoa.infrastructure.opa.wasm import Compiler

SECRET = b"s" * 32
WASM = read_bundle(DEFAULT_BUNDLE).wasm
TINY = b"\0asm\x01\0\0\0"
"""A WebAssembly module with nothing in it."""


class CountingCompiler(Compiler):
    """Knows what it was given to run."""

    def __init__(self):
        super().__init__()
        self.loaded = []

    def load(self, machine_code):
        self.loaded.append(bytes(machine_code))
        return super().load(machine_code)


def kept(directory: Path) -> Path:
    (file,) = directory.iterdir()
    return file


@pytest.fixture
def directory(tmp_path):
    """With one module of ours."""
    ModuleCache(tmp_path / "cache", SECRET).module(Compiler(), TINY)
    return tmp_path / "cache"


@pytest.fixture
def is_trusted(directory, caplog):
    """Asks for the module, and tells whether what lay there was run: the same code would be made anew."""

    def ask(*, secret: bytes = SECRET) -> bool:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            ModuleCache(directory, secret).module(Compiler(), TINY)
        return "made anew" not in caplog.text

    return ask


def test_compiled_policies_are_kept_for_this_user_alone(directory, is_trusted):
    assert is_trusted()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert kept(directory).stat().st_mode & 0o777 == 0o600


async def test_compiled_policies_decide_as_those_just_compiled(tmp_path):
    for _ in range(2):
        engine = OpaWasmPolicyEngine(cache=ModuleCache(tmp_path / "cache", SECRET))
        assert engine.health().is_ready


@pytest.mark.parametrize("damage", [b"", b"not machine code", b"\0" * 100])
def test_compiled_policies_that_are_damaged_are_replaced_and_the_log_says_so(directory, damage, caplog, is_trusted):
    good = kept(directory).read_bytes()
    kept(directory).write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        ModuleCache(directory, SECRET).module(Compiler(), TINY)
    assert "its digest is not one of this deployment" in caplog.text
    assert str(kept(directory)) in caplog.text
    assert len(kept(directory).read_bytes()) == len(good)
    assert is_trusted()


def test_compiled_policies_of_somebody_without_the_secret_are_not_run(directory, is_trusted):
    theirs = kept(directory).stat().st_ino
    assert not is_trusted(secret=b"t" * 32)
    assert kept(directory).stat().st_ino != theirs
    assert is_trusted(secret=b"t" * 32)


def test_compiled_policies_do_not_pass_for_others_under_another_name(directory):
    compiler = CountingCompiler()
    theirs = kept(directory).read_bytes()
    other = ModuleCache(directory, SECRET)
    other.module(Compiler(), WASM)
    (mine,) = (file for file in directory.iterdir() if file.stat().st_size > len(theirs))
    mine.write_bytes(theirs)
    other.module(compiler, WASM)
    assert all(not theirs.endswith(code) for code in compiler.loaded)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_compiled_policies_that_others_may_write_are_made_anew(directory, mode, is_trusted):
    kept(directory).chmod(mode)
    assert not is_trusted()
    assert kept(directory).stat().st_mode & 0o777 == 0o600
    assert is_trusted()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_compiled_policies_in_a_folder_that_others_may_write_are_made_anew(directory, mode, caplog, is_trusted):
    directory.chmod(mode)
    with caplog.at_level(logging.WARNING):
        assert not is_trusted()
    assert "could be written by others" in caplog.text
    assert directory.stat().st_mode & 0o777 == 0o700
    assert is_trusted()


def test_compiled_policies_behind_a_link_are_made_anew(directory, tmp_path, is_trusted):
    name, elsewhere = kept(directory), tmp_path / "elsewhere"
    name.rename(elsewhere)
    name.symlink_to(elsewhere)
    assert not is_trusted()
    assert not kept(directory).is_symlink()


def test_compiled_policies_in_a_folder_behind_a_link_are_neither_run_nor_written(directory, tmp_path, is_trusted):
    elsewhere = tmp_path / "elsewhere"
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)
    kept(elsewhere).write_bytes(b"")
    assert not is_trusted()
    assert kept(elsewhere).read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_compiled_policies_of_another_user_are_not_run(directory, is_trusted):
    os.chown(kept(directory), 12345, -1)
    assert not is_trusted()
    assert is_trusted()
    os.chown(directory, 12345, -1)
    assert not is_trusted()
    assert not is_trusted()


def test_compiled_policies_are_no_pipe_that_is_waited_for(directory):
    name = kept(directory)
    name.unlink()
    os.mkfifo(name)
    ModuleCache(directory, SECRET).module(Compiler(), TINY)
    assert name.is_file()


def test_what_is_no_webassembly_is_refused_and_not_kept(tmp_path):
    with pytest.raises(InvalidInput):
        ModuleCache(tmp_path / "cache", SECRET).module(Compiler(), b"no module")
    assert not (tmp_path / "cache").exists()
