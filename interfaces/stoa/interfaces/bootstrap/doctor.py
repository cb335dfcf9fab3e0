"""The checks of `stoa doctor`, one for each configured part, in the order in which an operator would fix them.

Each is small and uses the gateway's own adapters, with the settings of this environment.
"""

import asyncio
import os
import shutil
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from dishka import AsyncContainer

from stoa.application.gateway import Gateway
from stoa.application.policy.check_policy import LAWS, CheckPolicy
from stoa.application.ports.clock import Clock
from stoa.application.run_checks import Check, CheckResult, Verdict
from stoa.domain.finding import Severity
from stoa.infrastructure.http_client import HostResolver, OutboundRules
from stoa.infrastructure.http_client.client import HttpAnswer
from stoa.infrastructure.http_client.fetch import NoAnswer, fetch
from stoa.infrastructure.http_client.tls import http_context
from stoa.infrastructure.oidc import BackChannel
from stoa.infrastructure.oidc.checkup import ProviderCheck
from stoa.infrastructure.opa.sidecar import OpaServerPolicyEngine
from stoa.interfaces.bootstrap.kubernetes import watch_scope
from stoa.interfaces.bootstrap.metering import kafka_login
from stoa.interfaces.bootstrap.parts import IdentityPart, PolicyPart
from stoa.interfaces.settings import Settings
from stoa.interfaces.settings_findings import is_local, settings_findings

_SLOW_SECONDS = 60.0
"""Timeout of checks that read many documents or evaluate a policy thousands of times."""
_LEAST_BYTES = 256 * 1024**2
_OK, _WARN, _FAIL, _SKIP = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.SKIP


class Doctor:
    """Creates the checks. `environment`: the variables that the settings were read from. Nothing is read or connected
    to before a check runs."""

    def __init__(self, settings: Settings, container: AsyncContainer, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._container = container
        self._environment = environment

    def checks(self) -> list[Check]:
        """All checks, for `run_checks`."""
        settings = self._settings
        return [
            Check("settings", self._check_settings),
            Check("data folder", self._check_data_folder),
            Check("trust", self._check_trust),
            Check("identity", self._check_identity),
            Check("policy", self._check_policy, _SLOW_SECONDS),
            Check("catalogue", self._check_catalogue, _SLOW_SECONDS),
            *([Check("kubernetes", self._check_kubernetes, 30.0)] if settings.k8s_watcher_enabled else []),
            *([Check("redis", self._check_redis)] if settings.redis_url is not None else []),
            *([Check("kafka", self._check_kafka, 30.0)] if settings.relay_servers else []),
            Check("public URL", self._check_public_url),
        ]

    async def _check_settings(self) -> Sequence[CheckResult]:
        findings = settings_findings(self._settings, self._environment)
        remedy = "unset it, or change what it depends on"
        return [CheckResult(_WARN, finding.where, finding.message, remedy) for finding in findings] or [
            CheckResult(_OK, "settings", f"ENVIRONMENT={self._settings.environment}, nothing contradicts")
        ]

    async def _check_data_folder(self) -> Sequence[CheckResult]:
        return await asyncio.to_thread(_data_folder, self._settings)

    async def _check_trust(self) -> Sequence[CheckResult]:
        return [await asyncio.to_thread(_trust)]

    async def _check_identity(self) -> Sequence[CheckResult]:
        settings = self._settings
        identity = await self._container.get(IdentityPart)
        if settings.identity not in {"keycloak", "oidc"}:
            reason = f"IDENTITY_PROVIDER is {settings.identity}, which is for development"
            return [CheckResult(_WARN, "provider", reason, "set KEYCLOAK_URL or OIDC_ISSUER where others shall call")]
        rules, resolver = await self._container.get(OutboundRules), await self._container.get(HostResolver)

        async def ask(url: str, form: Mapping[str, str] | None) -> HttpAnswer:
            return await fetch(url, form=form, rules=rules, resolver=resolver)

        (issuer,) = identity.verifier.issuers
        clock, secret = await self._container.get(Clock), settings.keycloak_client_secret
        inward = settings.keycloak_internal_url
        check = ProviderCheck(
            issuer,
            ask,
            clock,
            identity.verifier,
            settings.keycloak_client_id,
            secret,
            BackChannel(settings.provider_url, inward) if inward else None,
            settings.oidc_scope_prefix,
        )
        return await check.run()

    async def _check_policy(self) -> Sequence[CheckResult]:
        policy_part = await self._container.get(PolicyPart)
        engine = policy_part.engine
        if isinstance(engine, OpaServerPolicyEngine):
            await engine.probe()
        for probe in policy_part.probes:
            health = probe.health()
            if not health.is_ready:
                remedy = "start the server with the policy, or mend OPA_URL or OPA_POLICY_PATH"
                return [CheckResult(_FAIL, "engine", health.detail, remedy)]
        checking = CheckPolicy(engine)
        broken = await checking.execute()
        loaded = CheckResult(_OK, "engine", type(engine).__name__)
        if broken:
            remedy = "change the policy; stoa policy check shows the cases"
            return [loaded, *(CheckResult(_FAIL, "law", f"broken: {LAWS[law]}", remedy) for law in broken)]
        return [loaded, CheckResult(_OK, "laws", f"kept in {checking.asked} decisions")]

    async def _check_catalogue(self) -> Sequence[CheckResult]:
        if not self._settings.catalogue_path and not self._settings.k8s_watcher_enabled:
            remedy = "name manifests in CATALOGUE_PATH"
            return [CheckResult(_WARN, "catalogue", "CATALOGUE_PATH is empty: there are no tools", remedy)]
        gateway = await self._container.get(Gateway)
        findings = await gateway.loader.execute()
        remedy = "change the manifest, or what it names"
        results = [
            CheckResult(_FAIL if finding.severity is Severity.ERROR else _WARN, finding.where, finding.message, remedy)
            for finding in findings
        ]
        count = len(gateway.registry.catalogue.tools)
        return [CheckResult(_OK if count else _WARN, "tools", f"{count}", "" if count else remedy), *results]

    async def _check_kubernetes(self) -> Sequence[CheckResult]:
        from stoa.infrastructure.kubernetes.api import KubernetesConnection
        from stoa.infrastructure.kubernetes.manifests.checkup import check_kubernetes

        connection = KubernetesConnection(self._settings.kubeconfig_path)
        try:
            return await check_kubernetes(connection, watch_scope(self._settings))
        finally:
            await connection.close()

    async def _check_redis(self) -> Sequence[CheckResult]:
        from stoa.infrastructure.redis.checkup import check_redis
        from stoa.infrastructure.redis.connection import RedisConnection

        url = self._settings.redis_url
        connection = RedisConnection("" if url is None else url.get_secret_value())
        try:
            return await check_redis(connection, await self._container.get(Clock))
        finally:
            await connection.close()

    async def _check_kafka(self) -> Sequence[CheckResult]:
        try:
            from stoa.infrastructure.kafka.checkup import check_kafka
        except ModuleNotFoundError:
            return [CheckResult(_FAIL, "client", "aiokafka is not installed", "install stoa-mcp-gateway[kafka]")]
        settings = self._settings
        return await check_kafka(settings.relay_servers, settings.metering_topic, kafka_login(settings))

    async def _check_public_url(self) -> Sequence[CheckResult]:
        """Reaches the gateway as a remote client would: by its public name, through every proxy in front of it."""
        base, resource = self._settings.url, f"{self._settings.url}/mcp"
        if not self._settings.public_url:
            reason = f"PUBLIC_URL is not set, so clients of this machine alone can use {base}"
            return [CheckResult(_SKIP, "public URL", reason, "set PUBLIC_URL where others shall call")]
        resolver = await self._container.get(HostResolver)
        try:
            health = await fetch(f"{base}/health", resolver=resolver)
            metadata = await fetch(f"{base}/.well-known/oauth-protected-resource/mcp", resolver=resolver)
        except NoAnswer as problem:
            remedy = "start the gateway, and mend DNS, the certificate or the proxy in front of it"
            return [CheckResult(_FAIL, "reachable", f"{base}: {problem}", remedy)]
        results = [CheckResult(_OK, "reachable", base)]
        if health.status != 200 or health.json().get("status") != "ok":
            reason = f"/health answered {health.status}, not as this gateway does"
            results.append(CheckResult(_FAIL, "health", reason, "let the proxy pass every path to the gateway"))
        results.append(self._judge_metadata(metadata, resource))
        return results

    def _judge_metadata(self, metadata: HttpAnswer, resource: str) -> CheckResult:
        if metadata.status == 421:
            remedy = "start the gateway with this PUBLIC_URL, or add the name that the proxy sends to ALLOWED_HOSTS"
            return CheckResult(_FAIL, "metadata", "the gateway there does not serve this host name (421)", remedy)
        if metadata.status == 404 and self._settings.identity == "none":
            return CheckResult(_SKIP, "metadata", "IDENTITY_PROVIDER is none: nobody logs in")
        announced = metadata.json().get("resource")
        if metadata.status != 200 or announced != resource:
            reason = f"answered {metadata.status} for {announced or 'no resource'}; clients expect {resource}"
            remedy = "start the gateway with this PUBLIC_URL, and let the proxy pass /.well-known/ on"
            return CheckResult(_FAIL, "metadata", reason, remedy)
        if not is_local(resource) and not resource.startswith("https://"):
            remedy = "put TLS in front of it"
            return CheckResult(_WARN, "metadata", f"{resource}: tokens travel in clear text", remedy)
        return CheckResult(_OK, "metadata", f"{resource}")


def _data_folder(settings: Settings) -> list[CheckResult]:
    folder = settings.data_dir
    remedy = "make it writable for the gateway's user, or set DATA_DIR"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as probe:
            probe.write(b"x" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as problem:
        return [CheckResult(_FAIL, "writable", f"{folder}: {problem.strerror}", remedy)]
    results = [CheckResult(_OK, "writable", f"{folder.absolute()}"), _permissions(folder)]
    to_come = settings.metering_max_bytes - _size(folder / "outbox") if settings.metering_enabled else 0
    wanted = max(_LEAST_BYTES, to_come)
    space = f"{free // 1024**2} MiB free"
    if free < wanted:
        reason = f"{space}, and metering alone may take {wanted // 1024**2} MiB more"
        results.append(CheckResult(_WARN, "space", reason, "make room, or lower METERING_MAX_BYTES"))
    else:
        results.append(CheckResult(_OK, "space", space))
    return results


def _permissions(folder: Path) -> CheckResult:
    mode = folder.stat().st_mode & 0o777
    if os.name == "posix" and mode & 0o022:
        return CheckResult(_WARN, "mode", f"{mode:o}: others may write there", f"chmod go-w {folder}")
    return CheckResult(_OK, "mode", f"{mode:o}")


def _size(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    except OSError:
        return 0


def _trust() -> CheckResult:
    """Checks that trusted certificates exist. OpenSSL reads those of a file at once, those of a folder on demand."""
    count = http_context().cert_store_stats()["x509_ca"]
    folder = ssl.get_default_verify_paths().capath
    in_folder = len([*Path(folder).iterdir()]) if folder and Path(folder).is_dir() else 0
    if not count and not in_folder:
        remedy = "install the system's ca-certificates, or name a file of them in SSL_CERT_FILE"
        return CheckResult(_FAIL, "certificates", "no authority is trusted, so no https:// works", remedy)
    where = os.environ.get("SSL_CERT_FILE") or folder or "the system"
    return CheckResult(_OK, "certificates", f"{count or in_folder} authorities, of {where}")
