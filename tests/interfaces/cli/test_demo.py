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


def test_demo_once_prints_a_page_and_leaves_nothing_behind(tmp_path: Path, _environment: dict[str, str]) -> None:
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
    with pytest.raises(ProcessLookupError):  # the demo led a process group, which is empty now
        os.killpg(process.pid, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "temporary files are gone"
    for expected in (
        "crm-search",
        "stoa token --role cpi-admin",
        "viewer of team-alpha",
        "export STOA_TOKEN=$(",
        "claude mcp add --transport http stoa http://127.0.0.1:",
        '"Authorization: Bearer $STOA_TOKEN"',
    ):
        assert expected in out
    for expected in ("decision  allowed", "status    success", "latency", "cost", "event", '"total": 2'):
        assert expected in out
    assert "eyJ" not in out, "a token has no place on the page; the page says how to get one"
    assert len(out.splitlines()) <= 66, "the demo prints a page"
