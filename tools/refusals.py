"""Which test notices when a refusal is taken away: `python -m tools.refusals [FILE]...` writes docs/refusals.md.

A refusal is, in `domain` and `application`:
  raise    an error is raised                                     taken away: nothing happens there
  if       a condition under which the answer is a no             taken away: it never holds
  or       one of several such conditions, in `if` or `not (and)` taken away: the others stay
  verdict  a yes or no is returned                                taken away: it is always yes, or always no
  else     a no is chosen in `x if y else None`                   taken away: it never is
  call     what refuses is called for nothing else                taken away: it is not called
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tools.mutation import NEVER_ALIVE, NOT_REACHED, ROOT, STILLBORN, SURVIVED, Change, differences, run

TESTS = (
    "tests/domain",
    "tests/application",
    "tests/contracts",
    "tests/interfaces/mcp/methods/test_tasks.py",
    "tests/interfaces/mcp/methods/test_task_model.py",
    "tests/interfaces/mcp/wire/test_param_headers.py",
    "tests/infrastructure/sqlite/test_task_store.py",
    "tests/infrastructure/http_client/test_upstream_tokens_through_gateway.py",
)
BESIDE = {
    "check_policy", "client_limits", "client_requests_manifest", "cloud_event", "content_manifests", "errors",
    "finding", "icon", "manifest_fields", "manifests", "metering_schema", "naming", "portable_schema",
    "price_manifest", "reconcile_usage", "refresh_catalogue", "relay_events", "tool_manifests",
}  # fmt: skip
"""Modules that no call passes through."""
ADAPTERS = {"budget_ledger", "metering", "policy_engine", "rate_limiter", "token_verifier"}
"""Those in memory that decide about calls."""
NAMESAKES = {"__init__", "add", "cancel", "execute", "_run"}
"""Of functions that refuse, which also name others that are called everywhere."""
EXPLAINED = (
    ("ArgumentSchema._coerce", "if changed", "what was not changed would be checked twice with the same outcome"),
    ("Budgets.reserve", "tenant is None", "for type checkers: nobody has no account"),
    ("Gateway.routed_arguments", "principal is None", "for type checkers: nothing was found then"),
    ("routed_arguments", "ANNOTATION", "a shortcut for schemas without annotations"),
    ("TaskRunner._resume", "work is None", "for type checkers: a task that waits has its work"),
    ("TaskRunner._supervise", "is None", "for type checkers: a run that has begun has both"),
    ("_Period.misses", "always False", "a shortcut: nothing of it is in the period"),
    ("OperationRegistry._compile", "isinstance(tool, Tool)", "resources and prompts are not annotated"),
    ("WatchResources.watchable", "or: viewer is None", "for type checkers: nothing was found then"),
    ("WatchResources.concerns", "if about", "a shortcut: without an update there is nothing to tell"),
    ("WatchResources.concerns", "or: viewer is None", "for type checkers: nothing was found then"),
    ("crossed", "reached > noticed", "a shortcut: no level is between them"),
    ("_within", "isinstance(exponent, int)", "for type checkers: pydantic has refused what is not finite"),
    ("_schema", "argument.description", "no refusal: an empty description is left out"),
)
"""Function, a part of the text, and why nobody has to notice."""
HEAD = """# Every refusal, and a test that fails without it

Written by `python -m tools.refusals`, which takes away one refusal at a time: {noticed} of {all} are noticed. The test
is the first that fails: those of the module's own name are tried before others, and quick ones before slow ones. The
kinds of refusal are explained in `tools/refusals.py`.
"""
UNNOTICED = {SURVIVED, NOT_REACHED, NEVER_ALIVE, STILLBORN}
Function = ast.FunctionDef | ast.AsyncFunctionDef


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


class Refusal(NamedTuple):
    function: str
    line: int
    text: str
    reached: Place
    """Only a test that comes to this statement or expression can notice that the refusal is gone."""
    take_away: Callable[[], None]


def places(node: ast.AST, function: str = "") -> Iterator[tuple[ast.AST, Place, str]]:
    """All that stands in functions, with the function's name."""
    name = f"{function}.{node.name}".lstrip(".") if isinstance(node, Function | ast.ClassDef) else function
    is_executed = not isinstance(node, ast.ClassDef | ast.Module)
    for field, value in ast.iter_fields(node):
        is_body = is_executed and not (isinstance(node, Function) and field != "body")
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                if is_body:
                    yield child, Place(node, field, index), name
                yield from places(child, name)


def refusals(tree: ast.Module, refusing: set[str]) -> Iterator[Refusal]:
    for node, place, name in places(tree):
        for kind, reached, take_away, text in _of(node, place, refusing):
            yield Refusal(name, node.lineno, f"{kind}: {' '.join(text.split())}", reached, take_away)


def changes(path: Path, refusing: set[str]) -> Iterator[tuple[Change, Refusal]]:
    """Each refusal of a file, and the change that takes it away."""
    text = path.read_text()
    original = compile(text, str(path), "exec")
    for number, _ in enumerate(refusals(ast.parse(text), refusing)):
        tree = ast.parse(text)  # a new one for each: what is taken away is not put back
        refusal = list(refusals(tree, refusing))[number]
        node = refusal.reached.node
        lines = set(range(node.lineno, node.end_lineno + 1))
        refusal.take_away()
        changed = compile(ast.fix_missing_locations(tree), str(path), "exec")
        swaps = [swap for swap in differences(original, changed) if swap is not None]
        yield Change(path.stem, path, refusal.line, refusal.text, swaps, lines), refusal


def _of(node: Any, place: Place, refusing: set[str]) -> Iterator[tuple[str, Place, Callable[[], None], str]]:
    """Kind, where it is reached, how it is taken away, and its text."""
    text = ast.unparse(node)
    match node:
        case ast.Raise():
            yield "raise", place, lambda: place.put(_never(node)), text
        case ast.If(body=[*_, ast.Return(value=value) as last]) if _is_no(value):
            head = f"if {ast.unparse(node.test)}: {ast.unparse(last)}"
            yield (
                "if",
                Place(node, "body", len(node.body) - 1),
                lambda: setattr(node, "test", _and(_constant(False), node.test)),
                head,
            )
            yield from _alternatives(node)
        case ast.If(body=[*_, ast.Raise()]):
            yield from _alternatives(node)
        case ast.Return(value=ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()) as value):
            for answer in (True, False):
                yield f"verdict, always {answer}", place, lambda a=answer: setattr(node, "value", _constant(a)), text
        case ast.Return(value=ast.Constant(value=False)) if not isinstance(place.parent, ast.If):
            yield "verdict, always True", place, lambda: setattr(node, "value", _constant(True)), text
        case ast.IfExp(test=ast.Compare(comparators=[ast.Constant(value=None)])):
            pass  # what is not there is not asked
        case ast.IfExp() if _is_no(node.body):
            yield "else", place, lambda: place.put(node.orelse), text
        case ast.IfExp() if _is_no(node.orelse):
            yield "else", place, lambda: place.put(node.body), text
        case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())) if _called(node.value) in refusing:
            yield "call", place, lambda: place.put(_never(node)), text
        case _:
            pass


def _alternatives(node: ast.If) -> Iterator[tuple[str, Place, Callable[[], None], str]]:
    match node.test:
        case ast.BoolOp(op=ast.Or(), values=values):
            neutral = False
        case ast.UnaryOp(op=ast.Not(), operand=ast.BoolOp(op=ast.And(), values=values)):
            neutral = True
        case _:
            return
    for index, one in enumerate(values):
        text = f"{ast.unparse(one)}, one of: {ast.unparse(node.test)}"
        yield (
            "or",
            Place(node, "body", len(node.body) - 1),
            lambda i=index: values.__setitem__(i, _constant(neutral)),
            text,
        )


def _is_no(value: ast.AST | None) -> bool:
    match value:
        case None | ast.Constant(value=None | False) | ast.Tuple(elts=[]) | ast.List(elts=[]) | ast.Dict(keys=[]):
            return True
        case ast.Call(func=ast.Name(id="_no" | "set" | "frozenset" | "Page")):
            return True
        case ast.Call(func=ast.Name(id="Decision" | "LimitVerdict"), args=[ast.Constant(value=False), *_]):
            return True
        case _:
            return False


def _never(statement: ast.stmt) -> ast.stmt:
    """Keeps the names that it mentions, so that the code fits the function that is there."""
    return ast.copy_location(ast.If(_constant(False), [statement], []), statement)


def _and(*values: ast.expr) -> ast.expr:
    return ast.copy_location(ast.BoolOp(ast.And(), list(values)), values[-1])


def _constant(value: bool) -> ast.Constant:
    return ast.Constant(value)


def _called(call: Any) -> str:
    function = (call.value if isinstance(call, ast.Await) else call).func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def refusing_functions(paths: list[Path]) -> set[str]:
    """Names of functions that raise, or say that they do."""
    functions = [one for path in paths for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, Function)]
    return {
        one.name
        for one in functions
        if "Raises" in (ast.get_docstring(one) or "") or any(isinstance(node, ast.Raise) for node in ast.walk(one))
    } - NAMESAKES


def explanation(refusal: Refusal) -> str:
    found = (why for function, part, why in EXPLAINED if function == refusal.function and part in refusal.text)
    return "".join(f": {why}" for why in found)


def main() -> int:
    paths = sorted(path for layer in ("domain", "application") for path in (ROOT / layer).rglob("*.py"))
    passed = [one for one in paths if (one.stem in ADAPTERS if one.parent.name == "memory" else one.stem not in BESIDE)]
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or passed
    refusing = refusing_functions(paths)
    found = [pair for path in chosen for pair in changes(path, refusing)]
    refusal_of = {id(change): refusal for change, refusal in found}
    rows: dict[str, list[str]] = {}
    noticed = 0

    def tell(change: Change, how: str) -> None:
        nonlocal noticed
        refusal, is_noticed = refusal_of[id(change)], how not in UNNOTICED
        noticed += is_noticed
        said = how.rpartition("/")[2] if is_noticed else f"**nobody**{explanation(refusal)}"
        row = [refusal.function, f"`{refusal.text}`", said]
        file = str(change.path.relative_to(ROOT))
        rows.setdefault(file, []).append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
        print(f"{file}:{change.line} {refusal.function}: {refusal.text} -> {how}", flush=True)

    if failed := run([change for change, _ in found], TESTS, tell):
        print("tests fail without any change:", *failed, sep="\n  ")
        return 1
    print(f"{noticed} of {len(found)} noticed")
    if chosen is passed:
        head = HEAD.format(noticed=noticed, all=len(found))
        tables = (
            f"\n## {path}\n\n| in | refusal | noticed by |\n|---|---|---|\n" + "\n".join(rows[path]) for path in rows
        )
        (ROOT / "docs" / "refusals.md").write_text(head + "\n".join(tables) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
