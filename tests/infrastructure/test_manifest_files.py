"""What only files can get wrong."""

from pathlib import Path

from stoa.application.ports.tool_source import ManifestDocument
from stoa.infrastructure.manifest_files import FileToolSource


async def read(directory: Path, name: str, text: str) -> ManifestDocument:
    (directory / name).write_text(text, encoding="utf-8")
    (document,) = await FileToolSource([directory]).read()
    return document


async def test_a_json_manifest_may_escape_characters_beyond_the_first_plane(tmp_path: Path):
    document = await read(tmp_path, "tool.json", '{"kind": "Tool", "note": "\\ud83d\\ude00"}')
    assert document.content == {"kind": "Tool", "note": "\U0001f600"}


async def test_broken_json_is_a_problem_that_names_the_line(tmp_path: Path):
    document = await read(tmp_path, "tool.json", '{\n"kind": ')
    assert document.content is None
    assert "line 2" in document.problem


async def test_aliases_that_multiply_are_refused(tmp_path: Path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    document = await read(tmp_path, "bomb.yaml", "\n".join(lines))
    assert document.content is None
    assert "aliases" in document.problem


async def test_an_alias_that_contains_itself_is_refused(tmp_path: Path):
    document = await read(tmp_path, "loop.yaml", "a: &a [*a]")
    assert document.content is None


async def test_nesting_that_would_end_the_process_is_a_problem_that_names_the_line(tmp_path: Path):
    document = await read(tmp_path, "deep.yaml", "kind: Tool\nspec: " + "[" * 100_000)
    assert document.content is None
    assert "line 2: nested deeper than 200 levels" in document.problem
