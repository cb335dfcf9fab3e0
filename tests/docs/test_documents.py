"""What README and docs show is checked against the program: blocks parse, commands and options exist, settings agree.

Blocks are checked here, not executed: no gateway is started and no command does its work."""

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from tests.docs.markdown import ROOT, Block, blocks, table

from stoa.interfaces.settings import Settings

STOA = Path(sys.executable).parent / "stoa"
OPTION = re.compile(r"--[a-z][a-z-]*")


@cache
def usage_of(*words: str) -> str:
    done = subprocess.run([STOA, *words, "--help"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"`stoa {' '.join(words)} --help` fails: {done.stderr}"
    return done.stdout


def check_stoa(command: str) -> None:
    words = command.split()[1:]
    nested = {"policy": ("explain", "check"), "usage": ("reconcile",)}
    depth = 2 if len(words) > 1 and words[1] in nested.get(words[0], ()) else 1
    known = set(OPTION.findall(usage_of(*words[:depth])))
    unknown = set(OPTION.findall(command)) - known
    assert not unknown, f"`stoa {' '.join(words[:depth])}` has no {', '.join(sorted(unknown))}"


def check_make(command: str) -> None:
    done = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}: {done.stderr}"
    for line in block.text.replace("\\\n", " ").splitlines():
        for command in re.findall(r"(?:^|[\s(])((?:\.venv/bin/)?stoa [^#)&]*)", line):
            check_stoa(command.strip())
        if line.startswith("make "):
            check_make(line.split("#")[0].split(" or: ")[0])
        for script in re.findall(r"(?:^|\s)(tools/\S+\.sh)", line):
            assert (ROOT / script).is_file(), f"{block}: there is no {script}"


def check_python(block: Block) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


CHECKS = {
    "sh": check_shell,
    "": check_shell,
    "yaml": lambda block: list(yaml.safe_load_all(block.text)),
    "json": lambda block: json.loads(block.text),
    "python": check_python,
}


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_block_is_sound(block: Block) -> None:
    assert block.language in CHECKS, f"no rule checks {block}; add one for `{block.language}` in {Path(__file__).name}"
    CHECKS[block.language](block)


@pytest.mark.parametrize("row", table("README.md", "command"), ids=lambda row: row[0][:40])
def test_a_command_of_the_table_exists(row: list[str]) -> None:
    for command in re.findall(r"`(stoa [^`]+)`", row[0]):
        check_stoa(command)


def test_the_configuration_table_names_exactly_the_settings() -> None:
    told = {name for row in table("README.md", "variable") for name in re.findall(r"`([A-Z_]+)`", row[0])}
    assert told == {name.upper() for name in Settings.model_fields}


def test_plain_defaults_of_the_configuration_table_are_those_of_the_settings() -> None:
    for names, defaults, _ in table("README.md", "variable"):
        fields = [Settings.model_fields[name.lower()] for name in re.findall(r"`([A-Z_]+)`", names)]
        values = [value.strip(" `") for value in defaults.split(", ")]
        if len(fields) != len(values):
            continue  # a sentence with a comma, or one default for several names
        for name, field, value in zip(names.split(", "), fields, values, strict=True):
            # Sentences describe a default that is worked out later; only plain words can be compared.
            if field.default not in (None, "", ()) and re.fullmatch(r"[\w.:/-]+", value):
                assert str(field.default).lower() == value.lower(), f"README.md: default of {name}"
