"""The alert rules and Prometheus's configuration by promtool, and alerts that fire and stay silent when they should."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.live.deploy.programs import CHART, program
from tests.live.servers import REPOSITORY

ALERTS = CHART / "files" / "alerts.yaml"


def promtool(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    tool = program("promtool", "prometheus", "prometheus/usr/bin")
    return subprocess.run([tool, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_alert_rules_are_valid() -> None:
    run = promtool("check", "rules", str(ALERTS))
    assert run.returncode == 0, run.stdout + run.stderr


def test_alert_rules_with_a_mistake_are_refused(tmp_path: Path) -> None:
    """The check itself."""
    wrong = tmp_path / "alerts.yaml"
    wrong.write_text(ALERTS.read_text(encoding="utf-8").replace("== 0", "== = 0", 1), encoding="utf-8")
    assert promtool("check", "rules", str(wrong)).returncode != 0


def test_prometheus_configuration_is_valid(tmp_path: Path) -> None:
    for path in (REPOSITORY / "deploy" / "compose" / "prometheus.yaml", ALERTS):
        shutil.copy(path, tmp_path)
    run = promtool("check", "config", "prometheus.yaml", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "rule files found" in run.stdout


@pytest.mark.parametrize("case", ["fire", "stay silent"])
def test_alerts(case: str, tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path)
    path = Path(__file__).with_name(f"alerts_{case.replace(' ', '_')}.yaml")
    shutil.copy(path, tmp_path / "test.yaml")
    run = promtool("test", "rules", "test.yaml", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
