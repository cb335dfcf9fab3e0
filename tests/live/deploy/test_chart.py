"""The Helm chart by real Helm, and shown to a real API server."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.live.deploy.chart_values import REFUSED, WORKING
from tests.live.deploy.programs import CHART, apply, check, helm, kubectl, program, template
from tests.live.kubernetes.cluster import ApiServer, Etcd
from tests.live.servers import INSTALLED, REPOSITORY, Opa, answers, free_port, running
from tools.deploy import manifests as plain

from stoa.interfaces.settings import Settings

NAMESPACE = "stoa"
WORKLOADS = {"Deployment", "Pod"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """With the namespaces of the values, the gateway's CRDs, and those of others that the chart has objects of."""
    folder = tmp_path_factory.mktemp("kubernetes")
    with running(Etcd, folder / "etcd") as etcd:
        assert isinstance(etcd, Etcd)
        server = ApiServer(folder / "apiserver", etcd)
        server.start()
        try:
            _prepare(server)
            yield server
        finally:
            server.stop()  # before its etcd


def _prepare(server: ApiServer) -> None:
    for name in (NAMESPACE, "tenant-acme", "tenant-globex"):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"} if name == NAMESPACE else {}
        apply(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        # A controller makes it where there is one.
        apply(server, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, namespace=name)
    of_others = INSTALLED / "kubernetes-crds"
    for path in (*sorted((CHART / "crds").glob("*.yaml")), *sorted(of_others.glob("*.yaml"))):
        apply(server, yaml.safe_load(path.read_text(encoding="utf-8")))
    server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


@pytest.mark.parametrize("name", ["helm", "helm3"])
@pytest.mark.parametrize("values", WORKING.values(), ids=WORKING)
def test_chart_lints(values: dict[str, Any], name: str, tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    run = helm("lint", "--strict", str(CHART), "--values", str(path), name=name)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", ["helm", "helm3"])
@pytest.mark.parametrize(("values", "named"), REFUSED.values(), ids=REFUSED)
def test_chart_refuses_values_and_names_them(values: dict[str, Any], named: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    run = helm("template", "gateway", str(CHART), "--values", str(path), name=name)
    assert run.returncode != 0
    assert named in run.stderr


@pytest.mark.parametrize("values", WORKING.values(), ids=WORKING)
def test_chart_objects_are_accepted_by_the_api_server(api: ApiServer, values: dict[str, Any], tmp_path: Path) -> None:
    objects = template(values, tmp_path)
    others = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}
    if not (INSTALLED / "kubernetes-crds").exists():
        objects = [each for each in objects if each["kind"] not in others]
    run = check(api, *objects, namespace=NAMESPACE)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("serverside-applied (server dry run)") == len(objects)
    assert "Warning" not in run.stderr


def test_chart_has_an_object_of_each_kind(tmp_path: Path) -> None:
    kinds = {each["kind"] for values in WORKING.values() for each in template(values, tmp_path, "--include-crds")}
    assert kinds == {
        "ClusterRole", "ClusterRoleBinding", "ConfigMap", "CustomResourceDefinition", "Deployment", "HTTPRoute",
        "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "Pod", "PodDisruptionBudget", "PrometheusRule", "Role",
        "RoleBinding", "Secret", "Service", "ServiceAccount", "ServiceMonitor",
    }  # fmt: skip


@pytest.mark.parametrize("values", WORKING.values(), ids=WORKING)
def test_chart_pods_meet_the_restricted_standard(api: ApiServer, values: dict[str, Any], tmp_path: Path) -> None:
    objects = template(values, tmp_path)
    apply(api, *(each for each in objects if each["kind"] == "ServiceAccount"), namespace=NAMESPACE)
    for number, pod in enumerate(_pods(objects)):
        pod["metadata"]["name"] = f"pod-{number}"
        run = check(api, pod, namespace=NAMESPACE)
        # Dry runs of pods with an unknown priority class or the like would fail for other reasons.
        assert run.returncode == 0, run.stderr


def test_restricted_standard_is_enforced(api: ApiServer, tmp_path: Path) -> None:
    """The check itself: the same pod with one right more."""
    objects = template({}, tmp_path)
    apply(api, *(each for each in objects if each["kind"] == "ServiceAccount"), namespace=NAMESPACE)
    pod = _pods(objects)[0]
    pod["metadata"]["name"] = "pod"
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    run = check(api, pod, namespace=NAMESPACE)
    assert "violates PodSecurity" in run.stderr


@pytest.mark.parametrize("values", WORKING.values(), ids=WORKING)
def test_chart_pods_cannot_write_but_where_they_must(values: dict[str, Any], tmp_path: Path) -> None:
    for pod in _pods(template(values, tmp_path)):
        for container in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            writable = {m["mountPath"] for m in container.get("volumeMounts", ()) if not m.get("readOnly")}
            assert writable <= {"/var/lib/stoa", "/tmp", "/policies"}


@pytest.mark.parametrize("values", WORKING.values(), ids=WORKING)
def test_chart_settings_are_valid(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(template(values, tmp_path))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for name, value in (("STATE_SECRET", "x" * 32), ("KEYCLOAK_CLIENT_SECRET", "x"), ("KAFKA_PASSWORD", "x")):
        monkeypatch.setenv(name, value)
    if "REDIS_URL" not in settings:
        monkeypatch.setenv("REDIS_URL", "redis://redis:6379/0")
    Settings()


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://gateway-stoa-mcp-gateway.stoa.svc"),
        ({"service": {"port": 8443}}, "http://gateway-stoa-mcp-gateway.stoa.svc:8443"),
        (WORKING["ingress"], "https://mcp.example.com"),
        ({"ingress": {"enabled": True, "hosts": ["mcp.local"]}}, "http://mcp.local"),
        (WORKING["gateway API"], "https://mcp.example.com"),
        ({"publicUrl": "https://a.example", "ingress": {"enabled": True, "hosts": ["b.example"]}}, "https://a.example"),
    ],
)
def test_chart_tells_clients_where_they_reach_it(values: dict[str, Any], url: str, tmp_path: Path) -> None:
    assert _settings(template(values, tmp_path))["PUBLIC_URL"] == url


def test_chart_lets_calls_end_before_pods_are_killed(tmp_path: Path) -> None:
    shutdown = {"preStopSeconds": 7, "drainSeconds": 3, "graceSeconds": 120}
    objects = template({"shutdown": shutdown}, tmp_path)
    [deployment] = [each for each in objects if each["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 140
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert _settings(objects)["SHUTDOWN_GRACE_SECONDS"] == "120"
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


CAN = [
    ("list", "tools.gostoa.dev", "tenant-acme", "yes"),
    ("watch", "toolsets.gostoa.dev", "tenant-acme", "yes"),
    ("patch", "tools.gostoa.dev --subresource=status", "tenant-acme", "yes"),
    ("watch", "configmaps", "tenant-acme", "yes"),
    ("create", "events", "tenant-acme", "yes"),
    ("create", "leases.coordination.k8s.io", NAMESPACE, "yes"),
    ("patch", "tools.gostoa.dev", "tenant-acme", "no"),
    ("create", "tools.gostoa.dev", "tenant-acme", "no"),
    ("delete", "toolsets.gostoa.dev", "tenant-acme", "no"),
    ("create", "configmaps", "tenant-acme", "no"),
    ("create", "leases.coordination.k8s.io", "tenant-acme", "no"),
    ("update", "leases.coordination.k8s.io/another", NAMESPACE, "no"),
    ("list", "pods", "tenant-acme", "no"),
    ("create", "pods", NAMESPACE, "no"),
]


@pytest.mark.parametrize(
    ("values", "name", "table"),
    [
        (
            {"enabled": True},
            "whole",
            [*CAN, ("list", "tools.gostoa.dev", "default", "yes"), ("watch", "namespaces", NAMESPACE, "yes"),
             ("get", "secrets", "tenant-acme", "no")],
        ),
        (
            {"enabled": True, "watchNamespaces": ["tenant-acme"], "secrets": {"enabled": True}},
            "part",
            [*CAN, ("list", "tools.gostoa.dev", "default", "no"), ("watch", "namespaces", NAMESPACE, "no"),
             ("watch", "secrets", "tenant-acme", "yes"), ("get", "secrets", NAMESPACE, "no"),
             ("get", "secrets", "tenant-globex", "no"), ("update", "secrets", "tenant-acme", "no")],
        ),
    ],
)  # fmt: skip
def test_chart_role_allows_what_the_watcher_needs_and_no_more(
    api: ApiServer, values: dict[str, Any], name: str, table: list[tuple[str, str, str, str]], tmp_path: Path
) -> None:
    objects = template({"k8s": values, "fullnameOverride": name}, tmp_path)
    apply(api, *(e for e in objects if "rbac" in e["apiVersion"] or e["kind"] == "ServiceAccount"), namespace=NAMESPACE)
    account = f"system:serviceaccount:{NAMESPACE}:{name}"
    for verb, resource, namespace, expected in table:
        asked = kubectl(api, "auth", "can-i", verb, *resource.split(), "--as", account, "--namespace", namespace)
        assert (verb, resource, namespace, asked.stdout.strip()) == (verb, resource, namespace, expected)


def test_chart_role_is_the_one_that_the_watcher_is_tested_with(tmp_path: Path) -> None:
    """There the audit log of an API server shows that it needs each of these rights and no other."""
    tested = list(yaml.safe_load_all((REPOSITORY / "tests/live/kubernetes/rbac.yaml").read_text(encoding="utf-8")))
    of_chart = template({"k8s": {"enabled": True}, "fullnameOverride": "stoa-mcp-gateway"}, tmp_path)
    assert _rights(of_chart) == _rights(tested)


def test_release_keeps_its_state_secret_and_starts_new_pods_for_new_settings(api: ApiServer) -> None:
    namespace = "releases"
    apply(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    def run(*arguments: str) -> str:
        done = helm(*arguments, "--namespace", namespace, kubeconfig=api.kubeconfig)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def of_cluster(kind: str, name: str, path: str) -> str:
        return kubectl(api, "get", kind, name, "--namespace", namespace, "-o", f"jsonpath={path}").stdout

    def seen() -> tuple[str, str]:
        name = "gateway-stoa-mcp-gateway"
        sum_ = of_cluster("deployment", name, r"{.spec.template.metadata.annotations.checksum/settings}")
        return of_cluster("secret", f"{name}-state", "{.data.stateSecret}"), sum_

    run("install", "gateway", str(CHART))
    secret, checksum = seen()
    assert len(secret) >= 32
    run("upgrade", "gateway", str(CHART))
    assert seen() == (secret, checksum)
    run("upgrade", "gateway", str(CHART), "--set", "logLevel=debug")
    after = seen()
    assert after[0] == secret
    assert after[1] not in {"", checksum}
    run("uninstall", "gateway")
    assert of_cluster("secret", "gateway-stoa-mcp-gateway-state", "{.data.stateSecret}") == secret
    run("install", "gateway", str(CHART))
    assert seen()[0] == secret
    run("uninstall", "gateway")


def test_opa_beside_the_gateway_starts_with_its_arguments(tmp_path: Path) -> None:
    """The sidecar's own command line, with a folder of the policies that the image carries."""
    pod = _pods(template(WORKING["OPA beside it"], tmp_path))[0]
    policy, opa = pod["spec"]["initContainers"]
    assert policy["command"] == ["cp", "-r", "/usr/share/stoa/policies/.", "/policies"]
    assert opa["restartPolicy"] == "Always"
    folder = tmp_path / "policies"
    folder.mkdir()
    for path in Opa.policies.glob("*.rego"):
        if not path.stem.endswith("_test"):
            (folder / path.name).write_bytes(path.read_bytes())
    port, health = free_port(), free_port()
    changes = {"127.0.0.1:8181": f"127.0.0.1:{port}", "0.0.0.0:8282": f"127.0.0.1:{health}", "/policies": str(folder)}
    arguments = opa["args"]
    for before, after in changes.items():
        arguments = [argument.replace(before, after) for argument in arguments]
    process = subprocess.Popen([program("opa", "opa", "opa/bin"), *arguments], stderr=subprocess.DEVNULL)
    try:
        probe = opa["startupProbe"]["httpGet"]
        deadline = time.monotonic() + 30
        while not answers(f"http://127.0.0.1:{health}{probe['path']}"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert answers(f"http://127.0.0.1:{port}/v1/data/stoa/authz/decision")
        assert not answers(f"http://127.0.0.1:{health}/v1/data")
    finally:
        process.kill()
        process.wait(10)


def test_helm_test_runs_the_smoke_script_in_the_image(tmp_path: Path) -> None:
    [pod] = [each for each in template(WORKING["everything"], tmp_path) if each["kind"] == "Pod"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    [container] = pod["spec"]["containers"]
    assert container["command"] == ["python", "-c", (CHART / "files" / "smoke.py").read_text(encoding="utf-8")]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["RESOURCE"] == "https://mcp.example.com/mcp"
    assert environment["GATEWAY_URL"] == "http://gateway-stoa-mcp-gateway.stoa.svc:8080"
    assert "TOKEN" in environment


def test_alerts_link_to_the_published_runbooks(tmp_path: Path) -> None:
    [rules] = [each for each in template(WORKING["everything"], tmp_path) if each["kind"] == "PrometheusRule"]
    links = [rule["annotations"]["runbook_url"] for group in rules["spec"]["groups"] for rule in group["rules"]]
    assert links
    assert all(link.startswith("https://docs.example.com/runbooks.html#stoa") for link in links)


def test_plain_manifests_are_the_charts() -> None:
    for path, text in plain.render(program("helm", "kubernetes", "kubernetes-tools/bin")).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run make manifests"


def test_plain_manifests_and_the_demo_are_accepted_by_the_api_server(api: ApiServer) -> None:
    run = kubectl(api, "kustomize", str(plain.KUSTOMIZE / "demo"))
    assert run.returncode == 0, run.stderr
    objects = [each for each in yaml.safe_load_all(run.stdout) if each]
    apply(api, *(each for each in objects if each["kind"] == "Namespace"))
    checked = check(api, *objects)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count("serverside-applied (server dry run)") == len(objects)
    assert {"Tool", "ToolSet", "Secret", "Deployment"} <= {each["kind"] for each in objects}
    for number, pod in enumerate(_pods(objects)):
        pod["metadata"] = {"name": f"pod-{number}", "namespace": "stoa-system"}
        pod["spec"].pop("serviceAccountName", None)
        created = kubectl(api, "create", "--dry-run=server", "-f", "-", manifests=[pod])
        assert "violates PodSecurity" not in created.stderr


def _pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pods that the objects would make, each as one of its own."""
    pods: list[dict[str, Any]] = []
    for each in objects:
        if each["kind"] == "Pod":
            pods.append({**each, "metadata": dict(each["metadata"])})
        elif each["kind"] == "Deployment":
            of_pod = each["spec"]["template"]
            pods.append(
                {"apiVersion": "v1", "kind": "Pod", "metadata": dict(of_pod["metadata"]), "spec": of_pod["spec"]}
            )
    return pods


def _rights(objects: list[dict[str, Any]]) -> set[tuple[str, str, str, str, str]]:
    """Kind of the role, API group, resource, name and verb of each right."""
    return {
        (each["kind"], group, resource, name, verb)
        for each in objects
        if each["kind"] in {"Role", "ClusterRole"}
        for rule in each["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def _settings(objects: list[dict[str, Any]]) -> dict[str, str]:
    [settings] = [each for each in objects if each["kind"] == "ConfigMap" and "PUBLIC_URL" in each["data"]]
    return dict(settings["data"])
