"""Kubernetes checks for `stoa doctor`: the API server answers, and gives the manifests of each kind."""

from collections.abc import Sequence

from stoa.application.run_checks import CheckResult, Verdict
from stoa.domain.schema.json_value import as_text
from stoa.infrastructure.kubernetes.api.connection import KubernetesConnection
from stoa.infrastructure.kubernetes.api.errors import ApiError
from stoa.infrastructure.kubernetes.manifests.tool_source import PLURALS, watched_manifests
from stoa.infrastructure.kubernetes.watch_scope import WatchScope


async def check_kubernetes(connection: KubernetesConnection, scope: WatchScope) -> Sequence[CheckResult]:
    try:
        version = as_text((await connection.json("GET", "/version")).get("gitVersion"))
    except ApiError as error:
        remedy = "mend KUBECONFIG_PATH, or run in a pod with a service account"
        return [CheckResult(Verdict.FAIL, "reachable", error.message, remedy)]
    reachable = CheckResult(Verdict.OK, "reachable", f"Kubernetes {version or 'of an unknown version'}")
    return [reachable, *[await _kind(connection, kind, scope) for kind in PLURALS]]


async def _kind(connection: KubernetesConnection, kind: str, scope: WatchScope) -> CheckResult:
    for watched in watched_manifests(kind, scope):
        try:
            await connection.request("GET", watched.path, query={**watched.selectors, "limit": "1"})
        except ApiError as error:
            remedy = "see the table of rights in docs/kubernetes.md"
            if error.is_missing:
                remedy = "install the definitions: stoa crds | kubectl apply --server-side -f -"
            return CheckResult(Verdict.FAIL, PLURALS[kind], error.message, remedy)
    return CheckResult(Verdict.OK, PLURALS[kind], "may be read")
