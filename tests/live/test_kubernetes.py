"""The catalogue in a real cluster: `stoa serve` with a service account, kubectl, and clients on `/mcp`."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.manifests import tool
from tests.e2e.processes import GatewayProcess, Upstream, serving, until
from tests.e2e.wire import wire_client
from tests.live.kubernetes.cluster import ApiServer, Etcd, cluster
from tests.live.servers import IS_REQUIRED

SEED = yaml.safe_load_all(
    (Path(__file__).parents[1] / "infrastructure" / "kubernetes" / "crds" / "seed.yaml").read_text()
)
SOON = 20.0


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with _installed_cluster(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream().listening() as listening:
        yield listening


@contextmanager
def _installed_cluster(folder: Path, *flags: str) -> Generator[ApiServer]:
    if not Etcd.is_installed():
        reason = "kubernetes is not installed; tools/services/install.sh kubernetes does it"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    with cluster(folder, *flags) as server:
        yield server


@contextmanager
def following(server: ApiServer, home: Path, **settings: str) -> Generator[GatewayProcess]:
    """A gateway that follows the cluster with the rights of its service account."""
    home.mkdir(exist_ok=True)
    environment = {
        "K8S_WATCHER_ENABLED": "true",
        "KUBECONFIG_PATH": str(server.account(home)),
        "K8S_LEASE_NAMESPACE": "stoa-system",
        **settings,
    }
    gateway = GatewayProcess(home, environment, sources=())
    with serving(gateway):
        yield gateway


def in_namespace(namespace: str, manifest: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace, **metadata}}


def acmes(gateway: GatewayProcess, tenant: str = "acme") -> Any:
    return wire_client(gateway.url, gateway.token("tenant-admin", tenant))


def phase(server: ApiServer, kind: str, name: str, namespace: str = "tenant-acme") -> str:
    return str(server.show(kind, name, namespace).get("status", {}).get("phase"))


def test_kubernetes_manifests_are_listed_called_edited_broken_mended_and_deleted(
    api_server: ApiServer, tmp_path: Path, upstream: Upstream
) -> None:
    with following(api_server, tmp_path) as gateway, acmes(gateway) as client:
        api_server.apply(in_namespace("tenant-acme", tool("weather", f"{upstream.url}/weather")))
        until(lambda: "weather" in client.names(), within=SOON)
        assert client.call("weather")["structuredContent"] == {"ok": True}
        with acmes(gateway, "globex") as other:
            assert "weather" not in other.names()
        until(lambda: phase(api_server, "tool", "weather") == "Registered", within=SOON)

        def asked_last() -> str:
            client.call("weather")
            return upstream.seen[-1].target

        api_server.apply(in_namespace("tenant-acme", tool("weather", f"{upstream.url}/changed")))
        until(lambda: asked_last() == "/changed", within=SOON)

        broken = tool("weather", f"{upstream.url}/{{city}}", inputSchema={"type": "object", "properties": {}})
        api_server.apply(in_namespace("tenant-acme", broken))
        until(lambda: phase(api_server, "tool", "weather") == "Error", within=SOON)
        assert "spec.inputSchema" in api_server.show("tool", "weather")["status"]["lastError"]
        assert asked_last() == "/changed", "the last good version stays in use"
        table = api_server.kubectl("get", "tools,toolsets", "-A")
        assert "Error" in table
        events = api_server.kubectl("get", "events", "-n", "tenant-acme")
        assert "Warning" in events

        api_server.apply(in_namespace("tenant-acme", tool("weather", f"{upstream.url}/mended")))
        until(lambda: asked_last() == "/mended", within=SOON)
        until(lambda: phase(api_server, "tool", "weather") == "Registered", within=SOON)

        until(lambda: api_server.show("tool", "weather")["status"].get("invocationCount", 0) >= 4, within=45)
        api_server.kubectl("delete", "tool", "weather", "-n", "tenant-acme")
        until(lambda: "weather" not in client.names(), within=SOON)
