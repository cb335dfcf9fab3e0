"""Mutation testing of functions in `application`: `python -m tools.operators EVERY MODULE...`, each so many-th mutant.

One thing at a time is changed: comparisons, `and`/`or`, conditions, numbers, texts, True/False, arithmetic, what is
returned, an argument left out, and a statement that is not executed.
"""

import ast
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools.forked import NO_TEST, ROOT, Change, Place, run
from tools.refusals import places

STRIDE = 7
"""So that what is known after a part of the run is an even sample."""
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
Mutation = tuple[str, Callable[[], None]]


def mutants(path: Path) -> Iterator[Change]:
    tree = ast.parse(path.read_text())
    statement: Place | None = None
    for node, place, name in places(tree):
        if isinstance(node, ast.stmt):
            statement = place
        if place.field == "annotation" or statement is None or not _is_within(node, statement.node):
            continue
        for what, apply in _mutations(node, place):
            text = " ".join(ast.unparse(node).split())[:90]
            yield Change(path, node.lineno, name, f"{text} -> {what}", statement, tree, apply)


def _is_within(node: Any, statement: Any) -> bool:
    return hasattr(node, "lineno") and statement.lineno <= node.lineno <= (statement.end_lineno or statement.lineno)


def _mutations(node: Any, place: Place) -> Iterator[Mutation]:  # noqa: C901  # one case for each kind
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            other = COMPARISONS[type(op)]
            yield other.__name__, lambda: node.ops.__setitem__(0, other())
        case ast.BoolOp(op=op):
            other = ast.Or if isinstance(op, ast.And) else ast.And
            yield other.__name__, lambda: setattr(node, "op", other())
        case ast.BinOp(op=op) if type(op) in ARITHMETIC:
            other = ARITHMETIC[type(op)]
            yield other.__name__, lambda: setattr(node, "op", other())
        case ast.UnaryOp(op=ast.Not()):
            yield "without not", lambda: place.put(node.operand)
        case ast.If() | ast.While() | ast.IfExp():
            yield "not if", lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
        case ast.Constant(value=bool(value)):
            yield str(not value), lambda: place.put(ast.Constant(not value))
        case ast.Constant(value=int() | float() as value):
            yield str(value + 1), lambda: place.put(ast.Constant(value + 1))
        case ast.Constant(value=str(value)) if not isinstance(place.parent, ast.Expr | ast.JoinedStr):
            yield "another text", lambda: place.put(ast.Constant(f"XX{value}"))
        case ast.Return(value=ast.AST() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return None", lambda: setattr(node, "value", ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield "nothing", lambda: place.put(ast.copy_location(ast.If(ast.Constant(False), [node], []), node))
        case ast.Assign(value=value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "= None", lambda: setattr(node, "value", ast.Constant(None))
        case ast.Call(args=[*_, _], keywords=[]):
            yield "last argument None", lambda: node.args.__setitem__(-1, ast.Constant(None))
        case ast.keyword(value=value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "None", lambda: setattr(node, "value", ast.Constant(None))
        case _:
            pass


def main() -> None:
    every, names = int(sys.argv[1]), set(sys.argv[2:])
    paths = [path for path in sorted((ROOT / "application").rglob("*.py")) if not names or path.stem in names]
    changes = [change for path in paths for change in mutants(path)]
    changes = [one for start in range(STRIDE) for one in changes[::every][start::STRIDE]]
    ended: Counter[tuple[str, bool]] = Counter()

    def report(change: Change, test: str) -> None:
        is_noticed = test not in {"", NO_TEST}
        ended[change.path.stem, is_noticed] += 1
        where = f"{change.path.stem}:{change.line} {change.function}"
        print(f"{where}: {change.text} | {test if is_noticed else 'SURVIVES ' + test}", flush=True)

    run(changes, ("tests/application",), report)
    for name in sorted({name for name, _ in ended}):
        noticed = ended[name, True]
        print(f"{name:20} {noticed} of {noticed + ended[name, False]}")


if __name__ == "__main__":
    main()
