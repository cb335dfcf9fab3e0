"""The commands of docs/usage.md work as they stand there."""

import re
import shlex
from pathlib import Path

import pytest
from tests.interfaces.cli.usage_data import audit_line, events, write_outbox

from stoa.interfaces.cli.app import run
from stoa.interfaces.settings import Settings

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "usage.md").read_text()
COMMANDS = [
    line.partition("#")[0].removeprefix(".venv/bin/").strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith(".venv/bin/stoa ")
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_works(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    write_outbox(tmp_path / "var", events())
    for name in ("var/audit.jsonl", "gateway.log"):
        (tmp_path / name).write_text("".join(map(audit_line, events())))
    _, *arguments = shlex.split(command)
    is_remote = "--kafka" in arguments  # there is no broker: that it is asked is all that can be seen
    if is_remote:
        arguments[arguments.index("--kafka") + 1] = "127.0.0.1:1"
    assert run(arguments) == (69 if is_remote else 0)
    shown = capfd.readouterr()
    assert "127.0.0.1:1" in shown.err if is_remote else shown.out
