"""The catalogue in a real cluster: `stoa serve` with a service account, kubectl, and clients on `/mcp`."""

import json
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.e2e.manifests import tool
from tests.e2e.processes import GatewayProcess, Upstream, serving, until
from tests.e2e.wire import ENVELOPE, STATELESS, wire_client
from tests.live.kubernetes.cluster import ACCOUNT, HERE, ApiServer, Etcd, cluster
from tests.live.servers import IS_REQUIRED

SEED = Path(__file__).parents[1] / "infrastructure" / "kubernetes" / "crds" / "seed.yaml"
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


@contextmanager
def _calling(gateway: GatewayProcess, name: str) -> Generator[list[bool]]:
    """Calls of one tool without a pause; gives whether each succeeded."""
    outcomes: list[bool] = []
    is_over = threading.Event()

    def call() -> None:
        with acmes(gateway) as client:
            while not is_over.is_set():
                outcomes.append(client.call(name).get("structuredContent") == {"ok": True})

    calling = threading.Thread(target=call)
    calling.start()
    try:
        yield outcomes
    finally:
        is_over.set()
        calling.join()


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

        # Wrong in a way that the rules of the definitions cannot see.
        schema = {"type": "object", "properties": {"city": {"type": "nonsense"}}}
        broken = tool("weather", f"{upstream.url}/broken", inputSchema=schema)
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


def test_kubernetes_seed_manifests_are_listed_as_they_stand(api_server: ApiServer, tmp_path: Path) -> None:
    with following(api_server, tmp_path) as gateway, acmes(gateway) as client:
        api_server.kubectl("apply", "-f", str(SEED))
        until(lambda: "payment-search" in client.names(), within=SOON)
        until(lambda: phase(api_server, "tool", "payment-search") == "Registered", within=SOON)
        # Its description is on a host that no test reaches.
        until(lambda: phase(api_server, "toolset", "petstore-api") == "Syncing", within=SOON)
        assert "petstore.swagger.io" in api_server.show("toolset", "petstore-api")["status"]["lastError"]
        api_server.kubectl("delete", "-f", str(SEED))
        until(lambda: not client.names(), within=SOON)


def test_kubernetes_change_is_announced_to_clients_within_a_second(
    api_server: ApiServer, tmp_path: Path, upstream: Upstream
) -> None:
    with following(api_server, tmp_path) as gateway, acmes(gateway) as client:
        waited: list[float] = []
        for number in range(5):
            with listening(gateway) as heard:
                began = time.monotonic()
                api_server.apply(in_namespace("tenant-acme", tool(f"quick-{number}", f"{upstream.url}/quick")))
                applied = time.monotonic()
                heard.wait(SOON)
                waited.append(time.monotonic() - applied)
                assert began < applied
            assert f"quick-{number}" in client.names()
        for number in range(5):
            api_server.kubectl("delete", "tool", f"quick-{number}", "-n", "tenant-acme")
        assert sorted(waited)[2] < 1.0, waited  # one of them may meet a busy machine


def test_kubernetes_namespace_that_is_deleted_takes_its_tools_within_a_second(
    api_server: ApiServer, tmp_path: Path, upstream: Upstream
) -> None:
    waited: list[float] = []
    with following(api_server, tmp_path) as gateway:
        for tenant in ("leaving", "leaving-too", "leaving-last"):
            api_server.kubectl("create", "namespace", f"tenant-{tenant}")
            with acmes(gateway, tenant) as client:
                api_server.apply(in_namespace(f"tenant-{tenant}", tool("weather", f"{upstream.url}/weather")))
                until(lambda: client.names() == {"weather"}, within=SOON)
                api_server.kubectl("delete", "namespace", f"tenant-{tenant}", "--wait=false")
                deleted = time.monotonic()
                until(lambda: not client.names(), within=SOON, every=0.02)
                waited.append(time.monotonic() - deleted)
    assert min(waited) < 1.0, waited  # others may meet a busy machine


def test_kubernetes_description_in_a_config_map_is_followed_and_a_foreign_one_is_not_read(
    api_server: ApiServer, tmp_path: Path, upstream: Upstream
) -> None:
    def config_map(namespace: str, operation: str) -> dict[str, Any]:
        paths = {f"/{operation}": {"get": {"operationId": operation, "responses": {"200": {"description": "ok"}}}}}
        document = {"openapi": "3.1.0", "info": {"title": "pets", "version": "1"}, "paths": paths}
        metadata = {"name": "apis", "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"pets.yaml": yaml.dump(document)},
        }

    def pets(namespace: str, source: dict[str, Any]) -> dict[str, Any]:
        spec = {"openAPISpec": source, "baseURL": upstream.url}
        manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "pets"}, "spec": spec}
        return in_namespace(namespace, manifest)

    def shown_tools() -> Any:
        return api_server.show("toolset", "pets").get("status", {}).get("tools")

    reference = {"configMapRef": {"name": "apis", "key": "pets.yaml"}}
    with following(api_server, tmp_path) as gateway, acmes(gateway) as client, acmes(gateway, "globex") as other:
        api_server.apply(config_map("tenant-acme", "cats"), pets("tenant-acme", reference))
        until(lambda: client.names() == {"cats"}, within=SOON)
        assert client.call("cats")["structuredContent"] == {"ok": True}
        api_server.apply(config_map("tenant-acme", "dogs"))
        until(lambda: client.names() == {"dogs"}, within=SOON)
        until(lambda: shown_tools() == ["dogs"], within=SOON)
        api_server.apply(pets("tenant-globex", reference))
        until(lambda: phase(api_server, "toolset", "pets", "tenant-globex") == "Error", within=SOON)
        assert not other.names()
        for namespace in ("tenant-acme", "tenant-globex"):
            api_server.kubectl("delete", "toolset", "pets", "-n", namespace)


def test_kubernetes_object_that_no_parser_reads_holds_up_no_other(
    api_server: ApiServer, tmp_path: Path, upstream: Upstream
) -> None:
    deep: dict[str, Any] = {}
    for _ in range(400):
        deep = {"properties": {"a": deep}}
    schema = {"type": "object", "properties": {"a": deep}}
    text = _json_of(in_namespace("tenant-acme", tool("deep", upstream.url, inputSchema=schema)))
    with following(api_server, tmp_path) as gateway, acmes(gateway) as client:
        api_server.kubectl("create", "-f", "-", given=text)
        api_server.apply(in_namespace("tenant-acme", tool("weather", f"{upstream.url}/weather")))
        until(lambda: "weather" in client.names(), within=SOON)
        until(lambda: phase(api_server, "tool", "deep") == "Error", within=SOON)
        gateway.kill()
        gateway.start()
        assert "weather" in client.names()
        api_server.kubectl("delete", "tool", "deep", "weather", "-n", "tenant-acme")


def test_kubernetes_service_account_needs_and_uses_its_role_and_nothing_more(
    tmp_path: Path, upstream: Upstream
) -> None:
    """Without streaming lists, which need no right to list."""
    with _installed_cluster(tmp_path / "cluster", "--feature-gates=WatchList=false") as server:
        _use_everything(server, tmp_path / "gateway", upstream)
        asked = [entry for entry in server.audited() if entry["user"]["username"] == ACCOUNT]
    refused = {_right_of(entry) for entry in asked if entry["responseStatus"]["code"] == 403}
    used = {_right_of(entry) for entry in asked if entry["responseStatus"]["code"] != 403}
    assert not refused
    assert used - {"get /version"} == _rights(HERE / "rbac.yaml") | _rights(HERE / "secrets.yaml")


def _use_everything(server: ApiServer, home: Path, upstream: Upstream) -> None:
    """Manifests of each kind, with a secret and a ConfigMap, which change."""
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "weather", "namespace": "tenant-acme"}}
    bearer = {"authentication": {"type": "bearer", "secretRef": {"name": "weather"}}}
    pets = {"openapi": "3.1.0", "info": {"title": "pets", "version": "1"}, "paths": {}}
    group = {"apiVersion": "gostoa.dev/v1alpha1", "metadata": {"name": "further"}}
    source = {"openAPISpec": {"configMapRef": {"name": "apis", "key": "pets.json"}}, "baseURL": upstream.url}
    server.kubectl("apply", "-f", str(HERE / "secrets.yaml"))
    server.apply({**token, "stringData": {"token": "s3cret"}}, _config_map("apis", {"pets.json": json.dumps(pets)}))
    with following(server, home, K8S_SECRETS_ENABLED="true") as gateway, acmes(gateway) as client:
        server.apply(
            in_namespace("tenant-acme", tool("weather", f"{upstream.url}/weather", **bearer)),
            in_namespace("tenant-acme", {**group, "kind": "ToolSet", "spec": source}),
            in_namespace("tenant-acme", {**group, "kind": "Resource", "spec": {"uri": "note://one", "text": "one"}}),
            in_namespace("tenant-acme", {**group, "kind": "Prompt", "spec": {"messages": [{"text": "one"}]}}),
        )

        def sent() -> str:
            client.call("weather")
            return upstream.seen[-1].headers["authorization"]

        until(lambda: "weather" in client.names(), within=SOON)
        assert sent() == "Bearer s3cret"
        server.apply({**token, "stringData": {"token": "changed"}})
        until(lambda: sent() == "Bearer changed", within=SOON)
        until(lambda: phase(server, "tool", "weather") == "Registered", within=SOON)
        for kind in ("toolset", "resource", "prompt"):
            until(lambda: server.show(kind, "further").get("status"), within=SOON)  # noqa: B023
        until(lambda: "update leases" in {_right_of(entry) for entry in server.audited()}, within=SOON)


def test_kubernetes_leader_that_is_killed_under_load_is_replaced_within_15_seconds_and_no_two_write(
    api_server: ApiServer, tmp_path: Path, upstream: Upstream
) -> None:
    def holder() -> str:
        lease = api_server.show("lease", "stoa-mcp-gateway", "stoa-system")
        return str(lease["spec"].get("holderIdentity", ""))

    unlimited = {"RATE_LIMIT_ENABLED": "false"}
    with (
        following(api_server, tmp_path / "one", **unlimited) as one,
        following(api_server, tmp_path / "two", **unlimited) as two,
    ):
        # The leader of the test before was killed, and its time has to run out.
        until(lambda: any(f"_{gateway.pid}_" in holder() for gateway in (one, two)), within=SOON)
        first = one if f"_{one.pid}_" in holder() else two
        second = two if first is one else one
        with acmes(second) as client:
            api_server.apply(in_namespace("tenant-acme", tool("before", f"{upstream.url}/before")))
            until(lambda: phase(api_server, "tool", "before") == "Registered", within=SOON)
            until(lambda: "before" in client.names(), within=SOON)
            with _calling(second, "before") as outcomes:
                first.kill()
                killed = time.monotonic()
                api_server.apply(in_namespace("tenant-acme", tool("after", f"{upstream.url}/after")))
                until(lambda: "after" in client.names(), within=SOON)
                assert client.call("after")["structuredContent"] == {"ok": True}
                until(lambda: f"_{second.pid}_" in holder(), within=SOON, every=0.1)
                assert time.monotonic() - killed < 15.0
                until(lambda: phase(api_server, "tool", "after") == "Registered", within=SOON)
            assert len(outcomes) > 10 and set(outcomes) == {True}
            first.start()
    api_server.kubectl("delete", "tool", "before", "after", "-n", "tenant-acme")


@pytest.mark.parametrize("flags", [(), ("--watch-cache=false",)], ids=["watch cache", "no watch cache"])
def test_kubernetes_delete_while_the_api_server_is_down_is_noticed_at_its_return(
    tmp_path: Path, upstream: Upstream, flags: tuple[str, ...]
) -> None:
    with _installed_cluster(tmp_path / "cluster", *flags) as server:
        for name in ("stays", "goes"):
            server.apply(in_namespace("tenant-acme", tool(name, f"{upstream.url}/{name}")))
        with following(server, tmp_path / "gateway") as gateway, acmes(gateway) as client:
            until(lambda: client.names() == {"stays", "goes"}, within=SOON)
            server.kill()
            until(lambda: _findings(gateway), within=SOON)
            assert gateway.get("/ready")[0] == 200
            assert client.call("goes")["structuredContent"] == {"ok": True}
            server.etcd.delete("/registry/gostoa.dev/tools/tenant-acme/goes")
            server.etcd.compact()
            server.start()
            until(lambda: client.names() == {"stays"}, within=SOON)
            until(lambda: not _findings(gateway), within=SOON)
            server.apply(in_namespace("tenant-acme", tool("comes", f"{upstream.url}/comes")))
            until(lambda: client.names() == {"stays", "comes"}, within=SOON)


def test_kubernetes_api_server_is_a_back_end_of_its_own_description(api_server: ApiServer, tmp_path: Path) -> None:
    """The tools come from the cluster's OpenAPI v3 document, and act with a service account's token."""
    account = {"name": "caller", "namespace": "tenant-acme"}
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": account}
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "delete"]},
    ]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "caller"}
    api_server.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {**rbac, "kind": "Role", "rules": rules},
        {**rbac, "kind": "RoleBinding", "roleRef": reference, "subjects": [{"kind": "ServiceAccount", **account}]},
    )
    token = api_server.kubectl("create", "token", "caller", "-n", "tenant-acme").strip()
    document = api_server.kubectl("get", "--raw", "/openapi/v3/api/v1")
    names = ["listCoreV1NamespacedPod", "createCoreV1NamespacedConfigMap", "deleteCoreV1NamespacedConfigMap"]
    spec = {
        "openAPISpec": {"configMapRef": {"name": "core-v1", "key": "openapi.json"}},
        "baseURL": api_server.url,
        "selector": {"tags": ["core_v1"], "operationIds": names},
        "toolDefaults": {"authentication": {"type": "bearer", "secretRef": {"name": "caller"}}},
    }
    manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "core-v1"}, "spec": spec}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": account, "stringData": {"token": token}}
    api_server.kubectl("apply", "-f", str(HERE / "secrets.yaml"))
    api_server.apply(secret, _config_map("core-v1", {"openapi.json": _only(document, names)}))
    certificate = api_server.folder / "data" / "certs" / "apiserver.crt"
    settings = {"K8S_SECRETS_ENABLED": "true", "SSL_CERT_FILE": str(certificate)}
    with following(api_server, tmp_path, **settings) as gateway, acmes(gateway) as client:
        api_server.apply(in_namespace("tenant-acme", manifest))
        until(lambda: client.names() >= set(names[:2]), within=SOON)
        here = {"namespace": "tenant-acme"}
        pods = client.call("listCoreV1NamespacedPod", **here)
        assert pods.get("structuredContent", {}).get("kind") == "PodList", pods
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}, "data": {"by": "a tool"}}
        created = client.call("createCoreV1NamespacedConfigMap", **here, **made)
        assert not created.get("isError"), created
        assert api_server.show("configmap", "made")["data"] == {"by": "a tool"}
        with wire_client(gateway.url, gateway.token("cpi-admin", "acme")) as admin:
            deleted = admin.call("deleteCoreV1NamespacedConfigMap", **here, name="made")
            assert not deleted.get("isError"), deleted
        api_server.kubectl("get", "configmap", "made", "-n", "tenant-acme", is_refused=True)
    api_server.kubectl("delete", "toolset", "core-v1", "-n", "tenant-acme")
    api_server.kubectl("delete", "-f", str(HERE / "secrets.yaml"))


def _findings(gateway: GatewayProcess) -> list[str]:
    found: list[str] = gateway.ready()["kubernetes"]["findings"]
    return found


def _config_map(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "tenant-acme"},
        "data": data,
    }


def _only(document: str, operations: list[str]) -> str:
    """The description with the paths of these operations: a ConfigMap holds 1 MiB, and the whole one is larger."""
    whole = json.loads(document)
    paths = {
        path: item for path, item in whole["paths"].items() if any(name in json.dumps(item) for name in operations)
    }
    return json.dumps({**whole, "paths": paths})


def _json_of(manifest: dict[str, Any]) -> str:
    """JSON of any depth, which Python's encoder refuses."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        return json.dumps(manifest)
    finally:
        sys.setrecursionlimit(limit)


def _right_of(entry: dict[str, Any]) -> str:
    if "objectRef" not in entry:
        return f"{entry['verb']} {entry['requestURI']}"
    asked = entry["objectRef"]
    return f"{entry['verb']} {'/'.join(filter(None, [asked['resource'], asked.get('subresource')]))}"


def _rights(path: Path) -> set[str]:
    rules = [rule for role in yaml.safe_load_all(path.read_text()) for rule in role.get("rules", ())]
    return {f"{verb} {resource}" for rule in rules for verb in rule["verbs"] for resource in rule["resources"]}


@contextmanager
def listening(gateway: GatewayProcess) -> Generator[threading.Event]:
    """Set when acme's clients are told that their list of tools changed."""
    heard = threading.Event()
    ready = threading.Event()

    def follow() -> None:
        params = {"notifications": {"toolsListChanged": True}, "_meta": ENVELOPE}
        message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
        headers = {
            "Authorization": f"Bearer {gateway.token('tenant-admin', 'acme')}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": STATELESS,
            "Mcp-Method": "subscriptions/listen",
        }
        with (
            suppress(httpx.HTTPError),
            httpx.stream("POST", f"{gateway.url}/mcp", json=message, headers=headers, timeout=SOON) as response,
        ):
            for line in response.iter_lines():
                ready.set()
                if "notifications/tools/list_changed" in line:
                    heard.set()
                    return

    thread = threading.Thread(target=follow)
    thread.start()
    assert ready.wait(SOON)
    yield heard
    thread.join(SOON)
