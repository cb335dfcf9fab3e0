"""The programs that check what is deployed, and what an API server says of it."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.live.kubernetes.cluster import ApiServer
from tests.live.servers import INSTALLED, IS_REQUIRED, SERVICES

_OF_THE_CLUSTER = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace"}
CHART = SERVICES.parents[1] / "deploy" / "charts" / "stoa-mcp-gateway"


def program(name: str, service: str, folder: str) -> str:
    """Its path. Skips where it is not installed, unless STOA_REQUIRE_LIVE=1: then that is a failure."""
    path = INSTALLED / folder / name
    found = str(path) if path.exists() else shutil.which(name)
    if found is None:
        reason = f"{name} is not installed; tools/services/install.sh {service} does it"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    return found


def helm(*arguments: str, name: str = "helm", kubeconfig: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    if kubeconfig is not None:
        environment["KUBECONFIG"] = str(kubeconfig)
    command = [program(name, "kubernetes", "kubernetes-tools/bin"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def template(values: dict[str, Any], folder: Path, *options: str, namespace: str = "stoa") -> list[dict[str, Any]]:
    """The objects that the chart renders."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    run = helm("template", "gateway", str(CHART), "--namespace", namespace, "--values", str(path), *options)
    assert run.returncode == 0, run.stderr
    return [manifest for manifest in yaml.safe_load_all(run.stdout) if manifest]


def kubectl(
    server: ApiServer, *arguments: str, manifests: Iterable[dict[str, Any]] = ()
) -> "subprocess.CompletedProcess[str]":
    """`manifests`: what `-f -` reads."""
    return subprocess.run(
        [program("kubectl", "kubernetes", "kubernetes-tools/bin"), *arguments],
        input=yaml.safe_dump_all(manifests),
        env={"KUBECONFIG": str(server.kubeconfig), "HOME": str(server.folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def apply(server: ApiServer, *manifests: dict[str, Any], namespace: str = "default") -> None:
    server.apply(*_placed(manifests, namespace))


def check(
    server: ApiServer, *manifests: dict[str, Any], namespace: str = "default"
) -> "subprocess.CompletedProcess[str]":
    """Ask whether the server would take them: decoded strictly, defaulted, validated, admitted, and not kept."""
    options = ["--server-side", "--dry-run=server", "--validate=strict"]
    return kubectl(server, "apply", *options, "-f", "-", manifests=_placed(manifests, namespace))


def _placed(manifests: Iterable[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """In this namespace, where they name none and are of a kind that has one: as Helm installs them."""
    return [
        each if each["kind"] in _OF_THE_CLUSTER else {**each, "metadata": {"namespace": namespace, **each["metadata"]}}
        for each in manifests
    ]
