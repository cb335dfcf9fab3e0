"""A real kube-apiserver with its etcd, and kubectl. No controllers: a namespace that is deleted stays, Terminating."""

import base64
import json
import os
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from tests.live.servers import INSTALLED, REPOSITORY, SERVICES, LiveServer, answers, free_port, post

HERE = Path(__file__).parent
CRDS = Path(os.environ.get("KW_CRDS") or REPOSITORY / "deploy" / "crds")
ACCOUNT = "system:serviceaccount:stoa-system:stoa-mcp-gateway"
_KUBECTL = INSTALLED / "kubernetes-tools" / "bin" / "kubectl"


class Etcd(LiveServer):
    name = "kubernetes"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.peer_port = free_port()

    @classmethod
    def is_installed(cls) -> bool:
        return (INSTALLED / "kubernetes" / ".stamp").exists() and _KUBECTL.exists()

    def command(self) -> list[str]:
        script = str(SERVICES / "kubernetes" / "start-etcd.sh")
        return [script, str(self.folder / "data"), str(self.port), str(self.peer_port)]

    def is_ready(self) -> bool:
        return answers(f"{self.url}/health")

    def delete(self, key: str) -> None:
        """Delete one key behind the API server's back."""
        encoded = base64.b64encode(key.encode()).decode()
        assert json.loads(post(f"{self.url}/v3/kv/deleterange", {"key": encoded}))["deleted"] == "1", key

    def compact(self) -> None:
        """Forget all versions but the last."""
        found = json.loads(post(f"{self.url}/v3/kv/range", {"key": "AA=="}))
        post(f"{self.url}/v3/kv/compaction", {"revision": found["header"]["revision"], "physical": True})


class ApiServer(LiveServer):
    """kube-apiserver with RBAC and an audit log, on the etcd that it is given."""

    name = "kubernetes"
    start_seconds = 90.0
    flags: tuple[str, ...] = ()

    def __init__(self, folder: Path, etcd: Etcd) -> None:
        super().__init__(folder)
        self.etcd = etcd
        self.url = f"https://127.0.0.1:{self.port}"

    @classmethod
    def is_installed(cls) -> bool:
        return Etcd.is_installed()

    def command(self) -> list[str]:
        script, audit = SERVICES / "kubernetes" / "start-apiserver.sh", HERE / "audit.yaml"
        log = [f"--audit-policy-file={audit}", f"--audit-log-path={self.folder / 'audit.log'}"]
        return [str(script), str(self.folder / "data"), str(self.port), str(self.etcd.port), *log, *self.flags]

    def is_ready(self) -> bool:
        with suppress(OSError):
            # The certificate is the server's own, made at its first start.
            context = ssl._create_unverified_context()  # pyright: ignore
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2, context=context) as response:
                return bool(response.read() == b"ok")
        return False

    @property
    def kubeconfig(self) -> Path:
        """An administrator's."""
        return self.folder / "data" / "kubeconfig"

    def audited(self) -> list[dict[str, Any]]:
        """What the gateway's service account asked for."""
        lines = (self.folder / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line]

    def kubectl(self, *arguments: str, given: str = "", is_refused: bool = False) -> str:
        """The output of kubectl; of a refusal, if one is expected, its words."""
        done = subprocess.run(
            [str(_KUBECTL), "--kubeconfig", str(self.kubeconfig), "--request-timeout=20s", *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
        )
        assert (done.returncode != 0) == is_refused, done.stderr
        return done.stderr if is_refused else done.stdout

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(manifests))

    def show(self, kind: str, name: str, namespace: str = "tenant-acme") -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return shown

    def account(self, folder: Path, *, url: str = "") -> Path:
        """A kubeconfig of the gateway's service account."""
        token = self.kubectl("create", "token", "stoa-mcp-gateway", "-n", "stoa-system", "--duration=1h").strip()
        shown = yaml.safe_load(self.kubeconfig.read_text())
        server = shown["clusters"][0]["cluster"]
        content = {
            **shown,
            "current-context": "gateway",
            "clusters": [{"name": "stoa", "cluster": {**server, "server": url or server["server"]}}],
            "users": [{"name": "gateway", "user": {"token": token}}],
            "contexts": [{"name": "gateway", "context": {"cluster": "stoa", "user": "gateway"}}],
        }
        path = folder / "gateway.kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path


@contextmanager
def cluster(folder: Path, *flags: str) -> Generator[ApiServer]:
    """A cluster with the definitions, the gateway's rights and two tenants."""
    etcd = Etcd(folder / "etcd")
    server = ApiServer(folder / "apiserver", etcd)
    server.flags = flags
    etcd.start()
    try:
        server.start()
        server.kubectl("apply", "--server-side", "-f", str(CRDS))
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        server.kubectl("apply", "-f", str(HERE / "rbac.yaml"))
        for namespace in ("tenant-acme", "tenant-globex"):
            server.kubectl("create", "namespace", namespace)
        yield server
    finally:
        server.stop()  # first, or it would take minutes without its etcd
        etcd.stop()
        shutil.rmtree(folder / "etcd" / "data", ignore_errors=True)
