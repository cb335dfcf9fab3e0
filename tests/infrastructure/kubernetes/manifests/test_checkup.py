"""`stoa doctor` about a cluster."""

from pathlib import Path

from tests.kubernetes import ApiServer, kubeconfig, serving

from stoa.application.run_checks import CheckResult
from stoa.infrastructure.kubernetes.api import KubernetesConnection
from stoa.infrastructure.kubernetes.manifests.checkup import check_kubernetes
from stoa.infrastructure.kubernetes.watch_scope import WatchScope


async def results(folder: Path, url: str) -> dict[str, CheckResult]:
    connection = KubernetesConnection(kubeconfig(folder, url))
    try:
        return {result.what: result for result in await check_kubernetes(connection, WatchScope())}
    finally:
        await connection.close()


async def test_checkup_of_a_cluster_that_gives_its_manifests_is_well(tmp_path):
    async with serving(ApiServer()) as url:
        found = await results(tmp_path, url)
    assert {result.verdict.value for result in found.values()} == {"ok"}
    assert set(found) == {"reachable", "tools", "toolsets", "resources", "prompts"}


async def test_checkup_names_the_definitions_and_rights_that_are_missing(tmp_path):
    server = ApiServer()
    server.refusals = {"tools": (404, "NotFound"), "prompts": (403, "Forbidden")}
    async with serving(server) as url:
        found = await results(tmp_path, url)
    assert "stoa crds" in found["tools"].remedy
    assert "rights" in found["prompts"].remedy
    assert found["toolsets"].verdict.value == "ok"


async def test_checkup_of_a_server_that_is_away_says_what_to_mend(tmp_path):
    found = await results(tmp_path, "http://127.0.0.1:1")
    assert "KUBECONFIG_PATH" in found["reachable"].remedy
    assert len(found) == 1
