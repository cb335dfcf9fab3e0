"""Runs tests against changed sources, fast: everything is imported and collected once, and each change happens in a
forked child, where the code of the functions that are there already is replaced. Of the tests it runs those that come
to the changed place, the quickest first, up to the first that fails."""

import ast
import builtins
import gc
import os
import pickle
import select
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
MOST_SECONDS = 30.0
"""So much of the tests is run for one change, the quickest first."""
EXAMPLES = 10
OPTIONS = (
    "-s",
    "-o",
    "timeout=30",
    "-p",
    "no:randomly",
    "-p",
    "no:cacheprovider",
    "-m",
    "not live and not clients",
    "--no-header",
)
REMOTE = ("opa", "redis", "http", "files", "fsync", "outbox", "issuer", "openapi", "rest", "prometheus", "fallback")
"""In the parameters of a contract's test: adapters outside of what is changed, which take their time."""
NO_TEST = "no test comes here"
HANGS = "a test that hangs"


class Place(NamedTuple):
    """Where a node stands in its tree."""

    parent: ast.AST
    field: str
    index: int | None

    @property
    def node(self) -> Any:
        value = getattr(self.parent, self.field)
        return value if self.index is None else value[self.index]

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True, slots=True)
class Change:
    """One change to the tree of a source file. `apply` makes it; nothing else needs the tree then."""

    path: Path
    line: int
    function: str
    text: str
    reached: Place
    """Only a test that comes to this statement or expression can notice it."""
    tree: ast.Module
    apply: Callable[[], None]


def run(changes: Sequence[Change], tests: Sequence[str], report: Callable[[Change, str], None]) -> None:
    """Tells `report` which test noticed each change: its id, NO_TEST, HANGS, or an empty text."""
    status = pytest.main([*OPTIONS, *tests], plugins=[_Loop(changes, report)])
    if status:
        sys.exit(int(status))


class _Loop:
    """What pytest does instead of running all tests once."""

    def __init__(self, changes: Sequence[Change], report: Callable[[Change, str], None]) -> None:
        self._changes = changes
        self._report = report
        self._failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self._failed:
            self._failed = report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("collecting failed")
        items = [item for item in session.items if not _is_remote(item)]
        for item in items:
            _hurry(item)
        functions: dict[Any, list[FunctionType]] = defaultdict(list)
        for one in gc.get_objects():
            if type(one) is FunctionType:
                functions[_name(one.__code__)].append(one)
        gc.freeze()
        found, _ = _forked(lambda: self._reached(items, functions), 3600)
        failed, seconds, reached = pickle.loads(found)  # noqa: S301  # our own child wrote it
        if failed:
            raise session.Interrupted(f"fails without any change: {failed}")
        print(f"{len(items)} tests, {sum(seconds):.0f} s; {len(self._changes)} changes", flush=True)
        for number, change in enumerate(self._changes):
            chosen: list[pytest.Item] = []
            left = MOST_SECONDS
            for test in sorted(reached[number], key=seconds.__getitem__):
                left -= seconds[test]
                if left > 0 or not chosen:
                    chosen.append(items[test])
            noticed, is_late = b"", False
            if chosen:
                most = 10 + 3 * (MOST_SECONDS - left)
                noticed, is_late = _forked(lambda: self._noticed(change, functions, chosen), most)  # noqa: B023
            if noticed.startswith(b"DEFECT"):
                raise session.Interrupted(f"{change.path}:{change.line}: {noticed.decode()}")
            self._report(change, HANGS if is_late else noticed.decode() if chosen else NO_TEST)
        return True

    def _reached(self, items: Sequence[pytest.Item], functions: dict[Any, list[FunctionType]]) -> bytes:
        """What fails, how long each test takes, and which tests come to each change."""
        reached: list[set[int]] = [set() for _ in self._changes]
        seconds: list[float] = []
        probes: dict[int, tuple[Place, list[int]]] = {}
        for number, change in enumerate(self._changes):
            probes.setdefault(id(change.reached.node), (change.reached, []))[1].append(number)
        for place, numbers in probes.values():
            place.put(_probed(place.node, numbers))

        def note(*numbers: int) -> bool:
            for number in numbers:
                reached[number].add(len(seconds))
            return True

        builtins.__reached__ = note  # type: ignore[attr-defined]
        for change in {change.path: change for change in self._changes}.values():
            _swap(change, functions)
        for item, following in zip(items, [*items[1:], None], strict=True):
            began = time.perf_counter()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds.append(time.perf_counter() - began)
        return pickle.dumps((self._failed, seconds, reached))

    def _noticed(self, change: Change, functions: dict[Any, list[FunctionType]], chosen: list[pytest.Item]) -> bytes:
        change.apply()
        _swap(change, functions)
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                item.session._setupstate.teardown_exact(None)  # ends the servers of its fixtures
                break
        return self._failed.encode()


def _probed(node: Any, numbers: list[int]) -> ast.AST:
    """The same, telling that it was reached."""
    told = ast.Call(ast.Name("__reached__", ast.Load()), [ast.Constant(number) for number in numbers], [])
    if isinstance(node, ast.stmt):
        return ast.copy_location(ast.If(told, [node], []), node)
    return ast.copy_location(ast.BoolOp(ast.And(), [told, node]), node)


def _swap(change: Change, functions: dict[Any, list[FunctionType]]) -> None:
    for code in _codes(compile(ast.fix_missing_locations(change.tree), str(change.path), "exec")):
        for function in functions.get(_name(code), ()):
            function.__code__ = code


def _codes(code: CodeType) -> Iterator[CodeType]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _codes(one)


def _name(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _is_remote(item: pytest.Item) -> bool:
    parameters = item.callspec.id if hasattr(item, "callspec") else ""
    return "contracts" in item.path.parts and any(name in parameters for name in REMOTE)


def _hurry(item: pytest.Item) -> None:
    """A property is tried a few times, and a counterexample is not made smaller."""
    from hypothesis import Phase, settings  # pytest wants to be first

    function = getattr(item, "function", None)
    wanted: settings | None = getattr(function, "_hypothesis_internal_use_settings", None)
    if wanted is not None:
        examples, phases = min(wanted.max_examples, EXAMPLES), (Phase.explicit, Phase.generate)
        few = settings(wanted, max_examples=examples, phases=phases, database=None)
        function._hypothesis_internal_use_settings = few


def _forked(act: Callable[[], bytes], seconds: float) -> tuple[bytes, bool]:
    """What `act` returns in a child of its own, and whether it took too long."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        said = b""
        try:
            said = act()
        except BaseException as defect:  # noqa: BLE001  # of ours
            said = f"DEFECT {defect!r}".encode()
        finally:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(said)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        is_late = not select.select([pipe], [], [], seconds)[0]
        if is_late:
            os.killpg(child, signal.SIGKILL)
        said = pipe.read()
    os.waitpid(child, 0)
    return said, is_late
