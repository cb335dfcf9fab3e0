"""The definitions in a real API server: what it makes of manifests, and that the gateway agrees."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from tests.infrastructure.kubernetes.crds.api_server import admit
from tests.infrastructure.kubernetes.crds.manifests import manifests
from tests.infrastructure.kubernetes.crds.test_definitions import KINDS, SEED, WRONG, manifest_of
from tests.infrastructure.kubernetes.crds.verdicts import (
    installed_definitions,
    is_beyond_rules,
    is_narrower,
    refusal_of_the_gateway,
)
from tests.live.kubernetes.cluster import ApiServer, cluster
from tests.live.servers import IS_REQUIRED


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    if not ApiServer.is_installed() and not IS_REQUIRED:
        pytest.skip("kube-apiserver is not installed: tools/services/install.sh kubernetes")
    with cluster(tmp_path_factory.mktemp("crds")) as running:
        yield running


def created(server: ApiServer, manifest: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The object as it would be stored, and the words of the refusal (a dry run that drops no field)."""
    plural = installed_definitions()[manifest["kind"]]["spec"]["names"]["plural"]
    path = f"/apis/gostoa.dev/v1alpha1/namespaces/tenant-acme/{plural}?dryRun=All&fieldValidation=Strict"
    known = yaml.safe_load(server.kubeconfig.read_text(encoding="utf-8"))
    token = next(user["user"]["token"] for user in known["users"] if user["name"] == "admin")
    request = urllib.request.Request(
        f"{server.url}{path}",
        json.dumps(manifest).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    context = ssl._create_unverified_context()  # pyright: ignore
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return json.load(answer), []
    except urllib.error.HTTPError as refused:
        status = json.load(refused)
        assert refused.code in {400, 422}, status
        causes = status.get("details", {}).get("causes", ())
        return {}, [f".{cause.get('field')}: {cause.get('message')}" for cause in causes] or [status["message"]]


@pytest.mark.parametrize("manifest", SEED, ids=lambda one: one["metadata"]["name"])
def test_crds_accept_the_first_manifests_as_they_stand(server: ApiServer, manifest: dict[str, Any]) -> None:
    server.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", given=yaml.safe_dump(manifest))
    stored = server.show(f"{manifest['kind']}.gostoa.dev", manifest["metadata"]["name"])
    assert refusal_of_the_gateway(stored) is None
    assert stored["spec"] == admit(installed_definitions()[manifest["kind"]], manifest)[0]["spec"]


@pytest.mark.parametrize(("kind", "spec", "field"), WRONG)
def test_crds_refuse_a_wrong_manifest_and_name_the_field(
    server: ApiServer, kind: str, spec: dict[str, Any], field: str
) -> None:
    place = field.partition(":")[0].rpartition(" ")[2].removeprefix(".")
    _, problems = created(server, manifest_of(kind, spec))
    assert any(place in problem for problem in problems), problems


def test_crds_show_the_status_to_kubectl(server: ApiServer) -> None:
    server.apply(manifest_of("Tool", {"endpoint": "http://127.0.0.1:9/"}, "shown"))
    instant = "2026-11-30T00:00:00Z"
    condition = {"type": "Programmed", "status": "True", "reason": "Programmed", "message": ""}
    conditions = [{**condition, "lastTransitionTime": instant}]
    status = {"status": {"phase": "Registered", "conditions": conditions, "invocationCount": 3}}
    arguments = ["tools.gostoa.dev", "shown", "-n", "tenant-acme", "--subresource=status", "--type=merge"]
    server.kubectl("patch", *arguments, "-p", json.dumps(status))
    table = server.kubectl("get", "stoa", "-n", "tenant-acme", "-o", "wide")
    (row,) = (line.split() for line in table.splitlines() if line.startswith("tool.gostoa.dev/shown"))
    assert row[1:4] == ["Registered", "Programmed", "3"]
    wrong = json.dumps({"status": {"phase": "Fine"}})
    assert "status.phase" in server.kubectl("patch", *arguments, "-p", wrong, is_refused=True)


@pytest.mark.parametrize("kind", KINDS)
def test_crds_and_gateway_accept_the_same_manifests(server: ApiServer, kind: str) -> None:
    definition = installed_definitions()[kind]
    counts = {True: 0, False: 0}

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(manifests(definition))
    def compare(manifest: dict[str, Any]) -> None:
        stored, problems = created(server, manifest)
        counts[not problems] += 1
        _, expected = admit(definition, manifest)
        assert bool(problems) == bool(expected), (problems, expected)  # else the tests without a server test a fiction
        if not problems:
            refusal = refusal_of_the_gateway(stored)
            assert refusal is None or is_beyond_rules(refusal), refusal
        else:
            assert refusal_of_the_gateway(manifest) is not None or is_narrower(expected), problems

    compare()
    assert min(counts.values()) > 30, counts
