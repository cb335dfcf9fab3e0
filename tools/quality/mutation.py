"""Runs tests against changed sources, fast, and tells who notices.

Everything is imported and collected once, and each change lives in a fork of its own: that of functions is their code,
swapped; any other is its module, imported anew together with the tests. Of the tests, those are run that come to the
changed lines, the likeliest and quickest first, up to the first that fails. Nothing is written to disk.
"""

import gc
import importlib
import importlib.abc
import importlib.machinery
import os
import pickle
import resource
import signal
import sys
import time
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import coverage
import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parents[2]
PYTEST = ["-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "-s", "-o", "timeout=0"]
SURVIVED, NOT_REACHED, NEVER_ALIVE, STILLBORN = (
    "survived",
    "survived (not reached)",
    "survived (never alive)",
    "stillborn",
)
"""What became of a change that no test noticed: also where no test comes to it, where its function is nowhere to be
found, or where nothing can be imported with it."""
HANGS = "a test that hangs"
_SECONDS = 30.0
"""So much of the tests is run for one change, but one test at least."""
_SECONDS_FOR_MODULES = 4.0
"""For a change outside functions, no line says which tests reach it: so much of the tests, the likeliest first."""
_MEMORY_BYTES = 4 << 30
_DEFECT = "a defect of this runner: "

Swap = tuple[tuple[str, int], types.CodeType]
"""A function's qualified name and first line, and its changed code."""


@dataclass
class Change:
    """One change to a source file."""

    module: str
    path: Path
    line: int
    text: str
    """For people."""
    functions: Sequence[Swap] | None
    """None: the module has to be imported anew, from `source`."""
    lines: set[int] = field(default_factory=set[int])
    """A test that notices it comes to one of these."""
    source: str = ""


def differences(one: types.CodeType, other: types.CodeType) -> Iterator[Swap | None]:
    """The outermost functions whose code differs; None for what is no function."""
    if _flat(one) != _flat(other) or len(_inner(one)) != len(_inner(other)):
        is_function = bool(one.co_flags & 0x1)  # CO_OPTIMIZED
        yield ((one.co_qualname, one.co_firstlineno), other) if is_function else None
        return
    for mine, yours in zip(_inner(one), _inner(other), strict=True):
        if mine.co_flags & 0x1 and _deep(mine) != _deep(yours):
            yield (mine.co_qualname, mine.co_firstlineno), yours
        else:
            yield from differences(mine, yours)


def _inner(code: types.CodeType) -> list[types.CodeType]:
    return [one for one in code.co_consts if isinstance(one, types.CodeType)]


def _flat(code: types.CodeType) -> tuple[object, ...]:
    constants = [(type(one), repr(one)) for one in code.co_consts if not isinstance(one, types.CodeType)]
    return code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants, code.co_flags


def _deep(code: types.CodeType) -> tuple[object, ...]:
    return _flat(code), [_deep(one) for one in _inner(code)]


def run(changes: Sequence[Change], tests: Sequence[str], tell: Callable[[Change, str], None]) -> list[str]:
    """Tells which test noticed each change (its id or HANGS), or what became of one that none did. Returns what fails
    without any change; then nothing was tried."""
    os.environ.setdefault("HYPOTHESIS_PROFILE", "mutation")
    plugin = _Loop(changes, tell)
    # Adapters outside of what is changed take their time, and too much of it while they are measured.
    which = ["-m", "not live and not clients", "-k", "not in_process_redis and not opa-server"]
    status = pytest.main([*PYTEST, *which, *tests], plugins=[plugin])
    return plugin.failed or ([] if not status else [f"pytest ends with {status}"])


class _Loop:
    """What pytest does instead of running all tests once."""

    def __init__(self, changes: Sequence[Change], tell: Callable[[Change, str], None]) -> None:
        self._changes = changes
        self._tell = tell
        self._seconds: dict[str, float] = {}
        self._reach: dict[str, dict[int, set[str]]] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("collecting failed")
        said, _ = _forked(lambda: self._measured(session.items))
        self.failed, self._seconds, self._reach = pickle.loads(said)  # our own child wrote it
        if anew := [one for one in self._changes if one.functions is None]:
            same = replace(anew[0], source=anew[0].path.read_text("utf-8"))
            near = sorted({name for one in anew for name in self._near(one)})
            if not self.failed and _ended(lambda: self._anew(same, session, near)) != SURVIVED:
                self.failed = [f"some test, when {same.module} is imported anew as it is"]
        if self.failed:
            return True
        print(f"{len(session.items)} tests in {sum(self._seconds.values()):.0f} s", flush=True)
        functions = _functions({str(one.path) for one in self._changes})
        items = {item.nodeid: item for item in session.items}
        gc.freeze()
        for change in self._changes:
            if change.functions is None:
                near = self._near(change)
                self._tell(change, _ended(lambda: self._anew(change, session, near)))  # noqa: B023
                continue
            chosen = [items[name] for name in self._chosen(change)]
            swaps = [(functions[str(change.path), where], code) for where, code in change.functions]
            if not all(found for found, _ in swaps):
                self._tell(change, NEVER_ALIVE)
            elif not chosen:
                self._tell(change, NOT_REACHED)
            else:
                self._tell(change, _ended(lambda: self._swapped(swaps, chosen)))  # noqa: B023
        return True

    def _measured(self, items: list[pytest.Item]) -> bytes:
        """What fails, how long each test takes, and which tests come to each line of each changed file."""
        measured = coverage.Coverage(data_file=None, include=sorted({str(one.path) for one in self._changes}))
        measured.start()
        failed: list[str] = []
        seconds: dict[str, float] = {}
        for item, following in zip(items, [*items[1:], None], strict=True):
            measured.switch_context(item.nodeid)
            begun = time.perf_counter()
            if _is_red(item, following):
                failed.append(item.nodeid)
            seconds[item.nodeid] = time.perf_counter() - begun
        measured.stop()
        data = measured.get_data()
        reach = {
            path: {line: {one for one in contexts if one} for line, contexts in data.contexts_by_lineno(path).items()}
            for path in data.measured_files()
        }
        return pickle.dumps((failed, seconds, reach))

    def _chosen(self, change: Change) -> list[str]:
        reached = self._reach.get(str(change.path), {})
        whole = {line for _, code in change.functions or () for *_, line in code.co_lines() if line is not None}
        found = (
            {one for line in lines for one in reached.get(line, ())}
            for lines in (change.lines, whole)  # a line within a constant is never run by itself
        )
        chosen: list[str] = []
        left = _SECONDS
        for name in sorted(next(filter(None, found), ()), key=lambda one: self._rank(one, change)):
            left -= self._seconds[name]
            if left > 0 or not chosen:
                chosen.append(name)
        return chosen

    def _near(self, change: Change) -> list[str]:
        """For a change outside functions: the tests that bear the module's name or hold for all modules, those that
        reach its functions, and the quickest."""
        reaching = {one for ids in self._reach.get(str(change.path), {}).values() for one in ids}

        def rank(name: str) -> tuple[bool, bool, float]:
            own, seconds = self._rank(name, change)
            return own, name not in reaching, seconds

        chosen: list[str] = []
        left = _SECONDS_FOR_MODULES
        for name in sorted(self._seconds, key=rank):
            left -= self._seconds[name]
            if left > 0 or not rank(name)[0]:
                chosen.append(name)
        return chosen

    def _rank(self, name: str, change: Change) -> tuple[bool, float]:
        """Likely and quick ones first."""
        is_own = Path(name.partition("::")[0]).stem in {f"test_{change.path.stem}", "test_values"}
        return not is_own, self._seconds[name]

    def _swapped(self, swaps: list[tuple[list[types.FunctionType], types.CodeType]], items: list[pytest.Item]) -> bytes:
        try:
            for found, code in swaps:
                for function in found:
                    function.__code__ = code
        except ValueError:  # it uses other variables of the function around it
            return STILLBORN.encode()
        return self._first_red(items)

    def _anew(self, change: Change, session: pytest.Session, chosen: list[str]) -> bytes:
        for name in [name for name in sys.modules if name.partition(".")[0] in {"stoa", "tests"}]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Changed(change))
        try:
            importlib.import_module(change.module)
        except Exception:  # noqa: BLE001
            return STILLBORN.encode()
        for file in dict.fromkeys(name.partition("::")[0] for name in chosen):
            items = list(session.genitems(pytest.Module.from_parent(session, path=ROOT / file)))
            if not items:
                return f"{file}: not collected".encode()
            if (red := self._first_red([item for item in items if item.nodeid in chosen])) != SURVIVED.encode():
                return red
        return SURVIVED.encode()

    def _first_red(self, items: Sequence[pytest.Item]) -> bytes:
        """In a fork, which ends when a test takes far longer than it does without a change: also a way to notice. So
        much CPU, or a minute more of waiting: the machine may be busy with other things."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            most = 10 + 10 * self._seconds[item.nodeid]
            signal.setitimer(signal.ITIMER_PROF, most)
            signal.alarm(60 + int(most))
            if _is_red(item, following):
                item.session._setupstate.teardown_exact(None)  # ends the servers of its fixtures
                return item.nodeid.encode()
        return SURVIVED.encode()


def _is_red(item: pytest.Item, following: pytest.Item | None) -> bool:
    return any(report.failed for report in runtestprotocol(item, nextitem=following, log=False))


def _functions(files: set[str]) -> dict[tuple[str, tuple[str, int]], list[types.FunctionType]]:
    """Those of these files that are alive, by file, qualified name and first line."""
    functions: dict[tuple[str, tuple[str, int]], list[types.FunctionType]] = defaultdict(list)
    gc.unfreeze()  # what tests/conftest.py froze would not be found
    for one in gc.get_objects():
        if type(one) is types.FunctionType and one.__code__.co_filename in files:
            code = one.__code__
            functions[code.co_filename, (code.co_qualname, code.co_firstlineno)].append(one)
    return functions


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module changed."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._change.module:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=str(self._change.path))

    def exec_module(self, module: types.ModuleType) -> None:
        module.__file__ = str(self._change.path)
        exec(compile(self._change.source, str(self._change.path), "exec"), module.__dict__)


def _ended(work: Callable[[], bytes]) -> str:
    """Who noticed; a child that dies, of too little memory for example, was noticed too."""
    said, died_of = _forked(work)
    if said.startswith(_DEFECT.encode()):
        raise RuntimeError(said.decode())
    return said.decode() or (HANGS if died_of in {signal.SIGALRM, signal.SIGPROF} else "the end of the process")


def _forked(work: Callable[[], bytes]) -> tuple[bytes, int]:
    """What `work` returns in a child of its own, nothing where that dies, and the signal that it died of."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        for late in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(late, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        said = b""
        try:
            said = work()
        except BaseException as defect:  # noqa: BLE001
            said = f"{_DEFECT}{defect!r}".encode()
        finally:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(said)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what its tests started
    return said, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
