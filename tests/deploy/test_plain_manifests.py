"""The manifests of deploy/kustomize, as far as they can be checked without Helm and an API server."""

import re
import subprocess
from pathlib import Path

import yaml
from tests.e2e.processes import STOA
from tools.deploy.manifests import KUSTOMIZE, demo

from stoa.interfaces.settings import Settings


def test_demo_manifests_are_those_of_the_demo() -> None:
    for path, text in demo().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run make manifests"


def test_demo_manifests_belong_to_two_tenants() -> None:
    [text] = demo().values()
    tools = [each for each in yaml.safe_load_all(text) if each["kind"] in {"Tool", "ToolSet"}]
    assert {each["metadata"]["namespace"] for each in tools} == {"tenant-acme", "tenant-globex"}
    assert "upstream.invalid" not in text


def test_demo_manifests_make_tools_without_a_finding(tmp_path: Path) -> None:
    [text] = demo().values()
    tools = [each for each in yaml.safe_load_all(text) if each["apiVersion"].startswith("gostoa.dev/")]
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump_all(tools), encoding="utf-8")
    environment = {"PATH": "/usr/bin:/bin", "DATA_DIR": str(tmp_path / "data")}
    command = [STOA, "tools", "--catalogue", str(tmp_path / "demo.yaml")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert {"crm-search", "inventory-lookup", "addPet"} <= set(re.findall(r"[\w-]+", run.stdout))


def test_kustomizations_name_files_that_are_there() -> None:
    paths = sorted(KUSTOMIZE.glob("*/kustomization.yaml"))
    assert len(paths) == 2
    for path in paths:
        for resource in yaml.safe_load(path.read_text(encoding="utf-8"))["resources"]:
            assert (path.parent / resource).exists()


def test_plain_settings_exist() -> None:
    lines = (KUSTOMIZE / "base" / "settings.env").read_text(encoding="utf-8").splitlines()
    names = {line.partition("=")[0] for line in lines if not line.startswith("#")}
    assert "PUBLIC_URL" in names
    assert names <= {name.upper() for name in Settings.model_fields}
