"""The script of `helm test` against a real gateway: it passes on one that works, and says what is wrong elsewhere."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.provider import Provider, providing
from tests.docs.markdown import ROOT
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess, serving

SMOKE = ROOT / "deploy" / "charts" / "stoa-mcp-gateway" / "files" / "smoke.py"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), {"OIDC_ISSUER": provider.issuer})
    write(gateway, "tools.yaml", tool("weather", "http://127.0.0.1:9/weather"))
    with serving(gateway):
        yield gateway


def smoke(gateway: GatewayProcess, **changes: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "GATEWAY_URL": gateway.url, "RESOURCE": f"{gateway.url}/mcp", **changes}
    # As the chart's pod runs it: the file is an argument, and nothing but the standard library is needed.
    command = [sys.executable, "-I", "-c", SMOKE.read_text(encoding="utf-8")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_smoke_passes_on_a_gateway_that_works(gateway: GatewayProcess) -> None:
    run = smoke(gateway)
    assert (run.returncode, run.stdout.count("ok: ")) == (0, 3), run.stdout + run.stderr


def test_smoke_lists_tools_with_a_token(gateway: GatewayProcess, provider: Provider) -> None:
    run = smoke(gateway, TOKEN=provider.token(f"{gateway.url}/mcp"))
    assert (run.returncode, run.stdout.count("ok: ")) == (0, 4), run.stdout + run.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"RESOURCE": "https://elsewhere.example/mcp"}, "FAILED: clients are told to log in for https://elsewhere"),
        ({"TOKEN": "wrong"}, "FAILED: a caller with a token lists tools"),
    ],
)
def test_smoke_fails_and_says_why(gateway: GatewayProcess, changes: dict[str, str], said: str) -> None:
    run = smoke(gateway, **changes)
    assert run.returncode == 1
    assert said in run.stdout


def test_smoke_fails_where_no_gateway_answers(tmp_path: Path) -> None:
    nowhere = GatewayProcess(tmp_path)
    assert smoke(nowhere).returncode == 1
