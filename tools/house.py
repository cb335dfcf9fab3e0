"""The figures of docs/house.md: `python tools/house.py`. Reads the sources with the standard library alone."""

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
LAYERS = ("domain", "application", "infrastructure", "interfaces")


def main() -> None:
    sources = [path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")]
    tests = list((ROOT / "tests").rglob("*.py"))
    texts = {path: path.read_text() for path in sources}
    lengths = [text.count("\n") for text in texts.values()]
    functions = [length for text in texts.values() for length in function_lengths(text)]
    total = sum(lengths)
    print(f"source files {len(sources)}, lines {total}; test files {len(tests)}")
    print(f"file lines, median / p90 / max        {shape(lengths, 90)} / {max(lengths)}")
    print(f"function lines, median / p95          {shape(functions, 95)} (max {max(functions)})")
    print(f"comments per 100 lines                {100 * sum(map(comments, texts.values())) / total:.1f}")
    print(f"docstring lines per 100               {100 * sum(map(docstring_lines, texts.values())) / total:.1f}")
    written = sum(path.read_text().count("\n") for path in tests)
    print(f"test : source lines                   {written / total:.2f} ({written} : {total})")
    for layer in LAYERS:
        own = [text for path, text in texts.items() if path.is_relative_to(ROOT / layer)]
        print(f"  {layer:15} {len(own):4} files {sum(text.count(chr(10)) for text in own):6} lines")
    longest = sorted(texts, key=lambda path: -texts[path].count("\n"))[:5]
    print("longest: " + ", ".join(f"{path.relative_to(ROOT)} {texts[path].count(chr(10))}" for path in longest))


def shape(values: Iterable[int], percentile: int) -> str:
    ordered = sorted(values)
    return f"{median(ordered):.0f} / {ordered[len(ordered) * percentile // 100]}"


def function_lengths(text: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def comments(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


def docstring_lines(text: str) -> int:
    """Of modules, classes and functions, and the strings below attributes."""
    strings = (
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    return sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in strings)


if __name__ == "__main__":
    main()
