"""`stoa demo --once` as a person runs it: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def _environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**kept, "DATA_DIR": str(tmp_path / "data")}


def test_the_demo_shows_everything_once_and_leaves_nothing_behind(tmp_path: Path, _environment: dict[str, str]) -> None:
    stoa = Path(sys.executable).with_name("stoa")
    process = subprocess.Popen(
        [stoa, "demo", "--once", "--port", "0"],
        cwd=tmp_path,
        env=_environment | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, err
    with pytest.raises(ProcessLookupError):  # the demo led a process group: nobody of it is left
        os.killpg(process.pid, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "temporary files are gone"
    for expected in (
        "crm-search",
        "Tokens",
        "cpi-admin",
        "tenant-admin team-alpha",
        "mcpServers",
        "claude mcp add",
        "curl",
    ):
        assert expected in out
    for expected in ("decision  allowed", "status    success", "latency", "cost", "event", '"total": 2'):
        assert expected in out
