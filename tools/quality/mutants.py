"""Mutation testing: changes one thing in a module, runs the tests that reach it, and counts who notices.

The mutations are mutmut's. Its runner mutates undecorated functions only and wraps them, which leaves out what most of
the domain is: fields, constraints, constants, properties, validators. So tools/quality/mutation.py runs them.

    python -m tools.quality.mutants domain/stoa/domain --tests tests/domain [--only budget,money] [--survivors] [--show]
    python -m tools.quality.mutants application/stoa/application --tests tests/application --functions
"""

import argparse
import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import deep_replace
from mutmut.mutation.mutators import mutation_operators, operator_string
from tools.quality.mutation import ROOT, STILLBORN, SURVIVED, Change, differences, run

RESULTS = ROOT / "var" / "mutants.json"
_STRIDE = 8
"""Mutants run in this order, so that what is known after a part of the run is an even sample."""


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


def mutants_of(path: Path, module: str) -> Iterator[Change]:
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
            changed_codes = list(differences(original, code))
            if not changed_codes:
                continue
            was, becomes = (" ".join(tree.code_for_node(node).split())[:160] for node in (old, new))
            swaps = [swap for swap in changed_codes if swap is not None]
            is_in_functions = len(swaps) == len(changed_codes)
            if not is_in_functions and _says_nothing(old, new):
                continue
            lines = set(range(begin, end + 1))
            yield Change(
                module, path, begin, f"{was}  ->  {becomes}", swaps if is_in_functions else None, lines, source
            )
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tests", required=True)
    parser.add_argument("--only", default="", help="modules, separated by commas")
    parser.add_argument("--survivors", action="store_true", help="leave out what the last run killed")
    parser.add_argument("--functions", action="store_true", help="only what stands in functions")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th mutant")
    parser.add_argument("--show", action="store_true", help="list the survivors of the last run")
    options = parser.parse_args()
    os.chdir(ROOT)
    folder = options.folder.resolve()
    only = {name for name in options.only.split(",") if name}
    prefix = ".".join(folder.relative_to(ROOT).parts[1:])
    paths = [path for path in sorted(folder.rglob("*.py")) if not only or path.stem in only]
    begun = time.monotonic()
    everything = [
        mutant
        for path in paths
        for mutant in mutants_of(path, ".".join([prefix, *path.relative_to(folder).with_suffix("").parts]))
        if mutant.functions is not None or not options.functions
    ]
    known: dict[str, dict[str, str]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    ended = {key: one["how"] for key, one in known.items()}
    if not options.show:
        todo = [
            one for one in everything if not options.survivors or ended.get(_key(one), SURVIVED).startswith(SURVIVED)
        ]
        todo = [one for start in range(_STRIDE) for one in todo[:: options.every][start::_STRIDE]]
        print(f"{len(everything)} mutants, {len(todo)} to run; made in {time.monotonic() - begun:.0f} s", flush=True)
        done = 0

        def tell(mutant: Change, how: str) -> None:
            nonlocal done
            done += 1
            known[_key(mutant)] = {"what": f"{mutant.module}:{mutant.line}: {mutant.text}", "how": how}
            if done % 25 == 0 or done == len(todo):
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(known))
                print(f"{done} of {len(todo)} in {time.monotonic() - begun:.0f} s", flush=True)

        if failed := run(todo, [options.tests], tell):
            print("tests fail without any mutant:", *failed, sep="\n  ")
            return 1
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant in everything:
        how = known.get(_key(mutant), {"how": "not run"})["how"]
        table[mutant.path.stem][_kind(how)] += 1
        if how.startswith(SURVIVED):
            print(f"{mutant.path.name}:{mutant.line}: {mutant.text} {how.removeprefix(SURVIVED)}")
    total = sum(table.values(), Counter[str]())
    for name, row in [*table.items(), ("all", total)]:
        counted = row["noticed"] + row[SURVIVED]
        print(f"{name:25} {row['noticed']:5} of {counted:5}  {100 * row['noticed'] / max(1, counted):5.1f} %")
    return 0


def _key(mutant: Change) -> str:
    return hashlib.sha256(f"{mutant.module}\n{mutant.source}".encode()).hexdigest()[:16]


def _kind(how: str) -> str:
    return next((kind for kind in (SURVIVED, STILLBORN, "not run") if how.startswith(kind)), "noticed")


if __name__ == "__main__":
    raise SystemExit(main())
