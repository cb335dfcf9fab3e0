"""Mutation testing: changes one thing in a module, runs the tests that reach it, and counts who notices.

The mutations are mutmut's. Its runner mutates undecorated functions only and wraps them, which leaves out what most of
the domain is: fields, constraints, constants, properties, validators. So this is a runner of its own. Each mutant
runs in a fork of a process that has collected the tests: that of a function is its code, swapped; any other is the
module, imported anew together with the tests. Nothing is written to disk but the results.

    python tools/mutants.py domain/stoa/domain --tests tests/domain [--only budget,money] [--survivors] [--show]
"""

import argparse
import gc
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import resource
import signal
import sys
import time
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import coverage
import libcst as cst
import pytest
from _pytest.runner import runtestprotocol
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import deep_replace
from mutmut.mutation.mutators import mutation_operators, operator_string

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "var" / "mutants.json"
PYTEST = ["-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "-s", "-o", "timeout=0"]
KILLED, SURVIVED, STILLBORN = "killed", "survived", "stillborn"
_EXIT = {0: SURVIVED, 77: STILLBORN}
_SECONDS_FOR_MODULES = 4.0
"""For a mutant outside functions, no line says which tests reach it: so much of the tests, the likeliest first."""
_STRIDE = 8
"""Mutants run in this order, so that what is known after a part of the run is an even sample."""


# What is mutated.


def _prose(node: cst.SimpleString) -> Iterable[cst.BaseString]:
    """A sentence is mutated once, to one that says nothing; its case and its last full stop are no behaviour."""
    if node.quote in {'"""', "'''"}:
        return
    if " " in node.raw_value:
        yield node.with_changes(value=f"{node.prefix}{node.quote}XX{node.quote}")
    else:
        yield from operator_string(node)


def _piece(node: cst.FormattedStringText) -> Iterable[cst.FormattedStringText]:
    yield node.with_changes(value="XX" if " " in node.value else f"XX{node.value}XX")


def _negated(node: cst.If | cst.CompIf | cst.While) -> Iterable[cst.CSTNode]:
    inner = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(), inner))


def _nothing(node: cst.Return) -> Iterable[cst.Return]:
    if node.value is not None and not (isinstance(node.value, cst.Name) and node.value.value == "None"):
        yield node.with_changes(value=cst.Name("None"), whitespace_after_return=cst.SimpleWhitespace(" "))


OPERATORS: Sequence[tuple[type, Callable[[Any], Iterable[cst.CSTNode]]]] = [
    *((kind, operator) for kind, operator in mutation_operators if operator is not operator_string),
    (cst.SimpleString, _prose),
    (cst.FormattedStringText, _piece),
    (cst.If, _negated),
    (cst.CompIf, _negated),
    (cst.While, _negated),
    (cst.Return, _nothing),
]


@dataclass
class Mutant:
    module: str
    path: Path
    line: int
    before: str
    after: str
    source: str
    functions: list[tuple[tuple[str, int], types.CodeType]] | None = None
    """Code to swap, by qualified name and first line; None: the module has to be imported anew."""
    lines: set[int] = field(default_factory=set)

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.module}\n{self.source}".encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}: {self.before}  ->  {self.after}"


class _Mutator(cst.CSTVisitor):
    def __init__(self, places: Mapping[cst.CSTNode, Any]) -> None:
        super().__init__()
        self._places = places
        self.found: list[tuple[int, int, cst.CSTNode, cst.CSTNode]] = []
        self._in_annotation = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Import | cst.ImportFrom) or _is_typing(node):
            return False
        if isinstance(node, cst.Annotation):
            self._in_annotation += 1
        elif isinstance(node, cst.Call) and self._in_annotation:  # of types, only constraints do something
            self._in_annotation = -self._in_annotation
        if self._in_annotation <= 0:
            place = self._places.get(node)
            for kind, operator in OPERATORS:
                if place is not None and isinstance(node, kind):
                    self.found += [(place.start.line, place.end.line, node, new) for new in operator(node)]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.Annotation):
            self._in_annotation = abs(self._in_annotation) - 1
        elif isinstance(original_node, cst.Call) and self._in_annotation < 0:
            self._in_annotation = abs(self._in_annotation)


def _is_typing(node: cst.CSTNode) -> bool:
    """Types are the type checkers' to test; `__all__` is Ruff's."""
    if isinstance(node, cst.Subscript):
        return isinstance(node.value, cst.Name) and node.value.value in {"Literal", "TypeGuard", "ClassVar"}
    if isinstance(node, cst.Assign):
        return any(isinstance(one.target, cst.Name) and one.target.value == "__all__" for one in node.targets)
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in {"NewType", "TypeVar"}


def mutants_of(path: Path, module: str) -> Iterator[Mutant]:
    text = path.read_text("utf-8")
    wrapper = MetadataWrapper(cst.parse_module(text))
    tree = wrapper.module
    original = compile(text, str(path), "exec")
    seen = {text}
    before = "".join(tree.code_for_node(one) for one in tree.header)
    after = text[len(before) :]
    for statement in tree.body:
        own = tree.code_for_node(statement)
        after = after[len(own) :]
        visitor = _Mutator(wrapper.resolve(PositionProvider))
        statement.visit(visitor)
        for begin, end, old, new in visitor.found:
            changed = deep_replace(statement, old, new)
            source = f"{before}{tree.code_for_node(cast('cst.CSTNode', changed))}{after}"
            if source in seen:
                continue
            seen.add(source)
            try:
                code = compile(source, str(path), "exec")
            except (SyntaxError, ValueError):
                continue
            differences = list(_differences(original, code))
            if not differences:
                continue
            was, becomes = (" ".join(tree.code_for_node(node).split())[:160] for node in (old, new))
            mutant = Mutant(module, path, begin, was, becomes, source)
            if all(swap is not None for swap in differences):
                mutant.functions = [swap for swap in differences if swap is not None]
                mutant.lines = set(range(begin, end + 1))
            elif _says_nothing(old, new):
                continue
            yield mutant
        before += own


def _says_nothing(old: cst.CSTNode, new: cst.CSTNode) -> bool:
    """Outside functions: an option that is None instead of left out, which is a mutant too and says the same."""
    if not isinstance(old, cst.Call) or not isinstance(new, cst.Call) or len(old.args) != len(new.args):
        return False
    return any(
        yours.keyword is not None and isinstance(yours.value, cst.Name) and yours.value.value == "None"
        for mine, yours in zip(old.args, new.args, strict=True)
        if mine is not yours
    )


def _differences(one: types.CodeType, other: types.CodeType) -> Iterator[tuple[tuple[str, int], types.CodeType] | None]:
    """The outermost functions whose code differs; None for what is no function."""
    if _flat(one) != _flat(other) or len(_inner(one)) != len(_inner(other)):
        is_function = bool(one.co_flags & 0x1)  # CO_OPTIMIZED
        yield ((one.co_qualname, one.co_firstlineno), other) if is_function else None
        return
    for mine, yours in zip(_inner(one), _inner(other), strict=True):
        if mine.co_flags & 0x1 and _deep(mine) != _deep(yours):
            yield (mine.co_qualname, mine.co_firstlineno), yours
        else:
            yield from _differences(mine, yours)


def _inner(code: types.CodeType) -> list[types.CodeType]:
    return [one for one in code.co_consts if isinstance(one, types.CodeType)]


def _flat(code: types.CodeType) -> tuple[object, ...]:
    constants = [(type(one), repr(one)) for one in code.co_consts if not isinstance(one, types.CodeType)]
    return code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants, code.co_flags


def _deep(code: types.CodeType) -> tuple[object, ...]:
    return _flat(code), [_deep(one) for one in _inner(code)]


# How it is run.


def _forked(work: Callable[[], int]) -> str:
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            code = work()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return KILLED if os.WIFSIGNALED(status) else _EXIT.get(os.WEXITSTATUS(status), KILLED)


class Swapping:
    """A pytest plugin: collects the tests, measures which lines each reaches, and runs them against swapped code."""

    def __init__(self, folder: Path, mutants: Sequence[Mutant], tell: Callable[[Mutant, str], None]) -> None:
        self._folder = folder
        self._mutants = mutants
        self._tell = tell
        self.seconds: dict[str, float] = {}
        self.reach: dict[str, dict[int, set[str]]] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._measure(session.items)
        if self.failed:
            return True
        print(f"{len(session.items)} tests in {sum(self.seconds.values()):.0f} s", flush=True)
        functions: dict[tuple[str, tuple[str, int]], list[types.FunctionType]] = defaultdict(list)
        for one in gc.get_objects():
            if type(one) is types.FunctionType and one.__code__.co_filename.startswith(str(self._folder)):
                code = one.__code__
                functions[code.co_filename, (code.co_qualname, code.co_firstlineno)].append(one)
        gc.freeze()
        items = {item.nodeid: item for item in session.items}
        if anew := [one for one in self._mutants if one.functions is None]:
            same = replace(anew[0], source=anew[0].path.read_text("utf-8"))
            near = sorted({name for one in anew for name in self._near(one)})
            if _forked(lambda: self._anew(same, session, near)) != SURVIVED:
                self.failed.append(f"some test, when {same.module} is imported anew as it is")
        if self.failed:
            return True
        for mutant in self._mutants:
            if mutant.functions is None:
                chosen = self._near(mutant)
                self._tell(mutant, _forked(lambda m=mutant, c=chosen: self._anew(m, session, c)))
                continue
            reached = self.reach.get(str(mutant.path), {})
            whole = {line for _, code in mutant.functions for *_, line in code.co_lines() if line is not None}
            found = (
                {one for line in lines for one in reached.get(line, ())}
                for lines in (mutant.lines, whole)  # a line within a constant is never run by itself
            )
            ids = sorted(next(filter(None, found), ()), key=lambda one, m=mutant: self._rank(one, m))
            chosen = [items[one] for one in ids]
            swaps = [(functions[str(mutant.path), where], code) for where, code in mutant.functions]
            if any(not found for found, _ in swaps):
                self._tell(mutant, f"{SURVIVED} (never alive)")
            elif not chosen:
                self._tell(mutant, f"{SURVIVED} (not reached)")
            else:
                self._tell(mutant, _forked(lambda s=swaps, c=chosen: self._run(s, c)))
        return True

    def _measure(self, items: list[pytest.Item]) -> None:
        measured = coverage.Coverage(data_file=None, include=[f"{self._folder}/*"], config_file=False)
        measured.start()
        for item in items:
            measured.switch_context(item.nodeid)
            begun = time.perf_counter()
            if _is_red(item):
                self.failed.append(item.nodeid)
            self.seconds[item.nodeid] = time.perf_counter() - begun
        measured.stop()
        data = measured.get_data()
        for path in data.measured_files():
            self.reach[path] = {
                line: {one for one in contexts if one} for line, contexts in data.contexts_by_lineno(path).items()
            }

    def _run(self, swaps: list[tuple[list[types.FunctionType], types.CodeType]], items: list[pytest.Item]) -> int:
        for found, code in swaps:
            for function in found:
                function.__code__ = code
        return int(any(self._notices(item) for item in items))

    def _notices(self, item: pytest.Item) -> bool:
        """In a fork, which ends when the test takes far longer than it does without a mutant: also a way to notice."""
        signal.alarm(10 + int(10 * self.seconds[item.nodeid]))
        return _is_red(item)

    def _near(self, mutant: Mutant) -> list[str]:
        """For a mutant outside functions: the tests that bear the module's name or hold for all modules, those that
        reach its functions, and the quickest."""
        reaching = {one for ids in self.reach.get(str(mutant.path), {}).values() for one in ids}

        def rank(name: str) -> tuple[bool, bool, float]:
            own, seconds = self._rank(name, mutant)
            return own, name not in reaching, seconds

        chosen: list[str] = []
        left = _SECONDS_FOR_MODULES
        for name in sorted(self.seconds, key=rank):
            left -= self.seconds[name]
            if left > 0 or not rank(name)[0]:
                chosen.append(name)
        return chosen

    def _rank(self, name: str, mutant: Mutant) -> tuple[bool, float]:
        """Likely and quick ones first."""
        is_own = Path(name.partition("::")[0]).stem in {f"test_{mutant.path.stem}", "test_values"}
        return not is_own, self.seconds[name]

    def _anew(self, mutant: Mutant, session: pytest.Session, chosen: list[str]) -> int:
        for name in [name for name in sys.modules if name.partition(".")[0] in {"stoa", "tests"}]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Changed(mutant))
        try:
            importlib.import_module(mutant.module)
        except Exception:  # noqa: BLE001
            return 77
        for file in dict.fromkeys(name.partition("::")[0] for name in chosen):
            items = list(session.genitems(pytest.Module.from_parent(session, path=ROOT / file)))
            if not items or any(self._notices(item) for item in items if item.nodeid in chosen):
                return 1
        return 0


def _is_red(item: pytest.Item) -> bool:
    return any(report.failed for report in runtestprotocol(item, nextitem=None, log=False))


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module changed."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=str(self._mutant.path))

    def exec_module(self, module: types.ModuleType) -> None:
        module.__file__ = str(self._mutant.path)
        exec(compile(self._mutant.source, str(self._mutant.path), "exec"), module.__dict__)  # noqa: S102


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tests", required=True)
    parser.add_argument("--only", default="", help="modules, separated by commas")
    parser.add_argument("--survivors", action="store_true", help="leave out what the last run killed")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th mutant")
    parser.add_argument("--show", action="store_true", help="list the survivors of the last run")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("HYPOTHESIS_PROFILE", "mutation")
    folder = options.folder.resolve()
    only = {name for name in options.only.split(",") if name}
    prefix = ".".join(folder.relative_to(ROOT).parts[1:])
    paths = [path for path in sorted(folder.rglob("*.py")) if not only or path.stem in only]
    begun = time.monotonic()
    everything = [
        mutant
        for path in paths
        for mutant in mutants_of(path, ".".join([prefix, *path.relative_to(folder).with_suffix("").parts]))
    ]
    known: dict[str, dict[str, str]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    ended = {key: one["how"] for key, one in known.items()}
    if not options.show:
        todo = [
            one
            for one in everything
            if not options.survivors or ended.get(one.key, "").startswith(SURVIVED) or one.key not in ended
        ]
        todo = [one for start in range(_STRIDE) for one in todo[:: options.every][start::_STRIDE]]
        print(f"{len(everything)} mutants, {len(todo)} to run; made in {time.monotonic() - begun:.0f} s", flush=True)
        done = 0

        def tell(mutant: Mutant, how: str) -> None:
            nonlocal done
            done += 1
            known[mutant.key] = {"module": mutant.module, "what": str(mutant), "how": how}
            if done % 25 == 0:
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(known))
                print(f"{done} of {len(todo)} in {time.monotonic() - begun:.0f} s", flush=True)

        plugin = Swapping(folder, todo, tell)
        pytest.main([*PYTEST, options.tests], plugins=[plugin])
        if plugin.failed:
            print("tests fail without any mutant:", *plugin.failed, sep="\n  ")
            return 1
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(known))
        print(f"all done in {time.monotonic() - begun:.0f} s")
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant in everything:
        how = known.get(mutant.key, {"how": "not run"})["how"]
        table[mutant.path.stem][how.partition(" ")[0]] += 1
        if how.startswith(SURVIVED):
            print(mutant, how.removeprefix(SURVIVED))
    total = sum(table.values(), Counter[str]())
    for name, row in [*table.items(), ("all", total)]:
        counted = row[KILLED] + row[SURVIVED]
        print(f"{name:20} {row[KILLED]:5} of {counted:5}  {100 * row[KILLED] / max(1, counted):5.1f} %")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
