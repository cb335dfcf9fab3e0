"""The compose stack: its file by docker compose itself, and its services as real servers, configured by it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.live.deploy.programs import program
from tests.live.deploy.stack import STARTED
from tests.live.servers import INSTALLED, IS_REQUIRED, REPOSITORY, Kafka, Keycloak, Opa, Redis


def config(file: Path) -> "subprocess.CompletedProcess[str]":
    compose = program("docker-compose", "compose", "compose/bin")
    return subprocess.run(
        [compose, "--project-directory", str(REPOSITORY), "--file", str(file), "config", "--quiet"],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_compose_file_is_valid() -> None:
    run = config(REPOSITORY / "compose.yaml")
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("service", "change"),
    [
        ("gateway", {"port": ["8080"]}),
        ("redis", {"healthcheck": {"interval": "soon"}}),
        ("grafana", {"depends_on": ["mimir"]}),
        ("kafka", {"volumes": ["nowhere-named:/data"]}),
    ],
)
def test_compose_file_with_a_mistake_is_refused(service: str, change: dict[str, Any], tmp_path: Path) -> None:
    """The check itself."""
    stack = yaml.safe_load((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"))
    stack["services"][service] |= change
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump(stack), encoding="utf-8")
    assert config(file).returncode != 0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the stack's users saw of it; see stack.py."""
    missing = [kind.name for kind in (Kafka, Keycloak, Opa, Redis) if not kind.is_installed()]
    missing += [] if (INSTALLED / "prometheus").exists() else ["prometheus"]
    missing += [] if os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip") else ["a network of its own"]
    if missing:
        reason = (
            f"the stack needs {', '.join(missing)}; tools/services/install.sh installs servers, root makes networks"
        )
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.live.deploy.stack"]
    run = subprocess.run(
        [*command, str(tmp_path_factory.mktemp("stack"))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return dict(json.loads(run.stdout.splitlines()[-1]))


def test_stack_services_become_healthy_by_their_own_checks(seen: dict[str, Any]) -> None:
    assert set(seen["healthy_after"]) == set(STARTED)
    assert seen["one_shot"] == [0, 0]


def test_stack_calls_are_governed(seen: dict[str, Any]) -> None:
    """By Keycloak's tokens and OPA's decisions, for two tenants, with a secret that no caller sees."""
    assert seen["stranger"] == 401
    assert seen["alice"]["result"]["structuredContent"]["total"] == 2
    assert seen["alice_billing"]["result"]["structuredContent"]["customerName"] == "Jonas Weber"
    assert seen["bob"]["error"]["data"] == {"code": "tool_not_found"}
    assert seen["opa_decisions"] > 0


def test_stack_events_are_in_kafka_and_shared_state_in_redis(seen: dict[str, Any]) -> None:
    assert {(event["tenant"], event["tool"]) for event in seen["events"]} >= {("acme", "crm-search")}
    assert seen["redis_keys"] > 0


def test_stack_is_watched_by_prometheus(seen: dict[str, Any]) -> None:
    assert seen["targets"] == {"stoa-mcp-gateway": "up", "opa": "up", "keycloak": "up"}
    assert seen["rules"]
    assert set(seen["rules"].values()) == {"ok"}


def test_dashboard_queries_give_series_in_a_real_prometheus(seen: dict[str, Any]) -> None:
    without = {name.partition(" ")[2] for name, series in seen["queries"].items() if not series}
    assert without <= {"Background work started again"}  # nothing failed


def test_stack_traces_of_calls_are_in_jaeger(seen: dict[str, Any]) -> None:
    if "spans" not in seen:
        reason = "Jaeger is not installed: tools/services/install.sh jaeger builds it, in minutes"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    call, back_end = sorted(seen["spans"], key=lambda span: span["has_parent"])
    assert (call["has_parent"], back_end["has_parent"]) == (False, True)
    assert call["name"] in {"tool crm-search", "tool billing-invoice"}
    assert back_end["name"] == "call"


def test_stack_ends_when_it_is_asked_to(seen: dict[str, Any]) -> None:
    """143 and -15: a process that SIGTERM ended, as it does without a handler."""
    assert seen["exit_codes"]["gateway"] == 0
    assert set(seen["exit_codes"].values()) <= {0, 143, -15}
