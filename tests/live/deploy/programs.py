"""The programs that check what is deployed, and an API server to show it to."""

import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.live.servers import INSTALLED, IS_REQUIRED, SERVICES, LiveServer, free_port

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


class KubernetesApi(LiveServer):
    """kube-apiserver with its etcd: no controllers, no nodes."""

    name = "kubernetes"
    start_seconds = 90.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"https://127.0.0.1:{self.port}"
        self.kubeconfig = folder / "data" / "kubeconfig"
        self._etcd_ports = [str(free_port()), str(free_port())]

    @classmethod
    def is_installed(cls) -> bool:
        return all(
            (INSTALLED / program).exists()
            for program in ("kubernetes/bin/kube-apiserver", "kubernetes/bin/etcd", "kubernetes-tools/bin/kubectl")
        )

    def command(self) -> list[str]:
        start = str(SERVICES / "kubernetes" / "start.sh")
        return [start, str(self.folder / "data"), str(self.port), *self._etcd_ports]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"{self.url}/readyz", timeout=2, context=ssl._create_unverified_context()
            ) as answer:
                return bool(answer.read() == b"ok")
        except OSError:
            return False

    def kubectl(self, *arguments: str, manifests: Any = None) -> "subprocess.CompletedProcess[str]":
        """`manifests`: what `-f -` reads."""
        command = [str(INSTALLED / "kubernetes-tools" / "bin" / "kubectl"), *arguments]
        return subprocess.run(
            command,
            input=None if manifests is None else yaml.safe_dump_all(manifests),
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def apply(self, *manifests: dict[str, Any], namespace: str = "default") -> None:
        run = self.kubectl("apply", "--server-side", "-f", "-", manifests=_placed(manifests, namespace))
        assert run.returncode == 0, run.stderr

    def check(self, *manifests: dict[str, Any], namespace: str = "default") -> "subprocess.CompletedProcess[str]":
        """Ask whether the server would take them: decoded strictly, defaulted, validated, admitted, and not kept."""
        options = ["--server-side", "--dry-run=server", "--validate=strict"]
        return self.kubectl("apply", *options, "-f", "-", manifests=_placed(manifests, namespace))


def _placed(manifests: Iterable[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """In this namespace, where they name none and are of a kind that has one: as Helm installs them."""
    return [
        each if each["kind"] in _OF_THE_CLUSTER else {**each, "metadata": {"namespace": namespace, **each["metadata"]}}
        for each in manifests
    ]
