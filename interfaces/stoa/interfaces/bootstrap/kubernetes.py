"""Provider of the catalogue in Kubernetes, if K8S_WATCHER_ENABLED."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from dishka import Provider
from dishka import Scope as Lifetime
from dishka import provide as provide  # pyright: ignore[reportUnknownVariableType]  # its overloads are untyped

from stoa.application.concurrency.supervisor import Background, Supervisor
from stoa.application.memory.ids import UuidFactory
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.clock import Clock
from stoa.infrastructure.kubernetes.watch_scope import WatchScope
from stoa.interfaces.bootstrap.parts import KubernetesPart, OptionalSharedState
from stoa.interfaces.settings import Settings

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class KubernetesProvider(Provider):
    """The manifest source, and what comes with it."""

    scope = Lifetime.APP

    @provide
    async def kubernetes(
        self,
        settings: Settings,
        clock: Clock,
        executor: BoundedExecutor,
        supervisor: Supervisor,
        shared: OptionalSharedState,
    ) -> AsyncIterator[KubernetesPart]:
        if not settings.k8s_watcher_enabled:
            yield KubernetesPart()
            return
        # With aiohttp, only where it is enabled.
        from stoa.infrastructure.kubernetes.api import Cluster, KubernetesConnection, NamedObjects
        from stoa.infrastructure.kubernetes.manifests import (
            KubernetesCredentialSource,
            KubernetesSpecSource,
            KubernetesToolSource,
        )
        from stoa.infrastructure.kubernetes.status import CallCounts, LeaseName, SharedCounts, StatusWriter

        connection = KubernetesConnection(settings.kubeconfig_path)
        cluster = Cluster(connection, clock=clock, executor=executor, report=supervisor.report)
        config_maps = NamedObjects(cluster, "configmaps")
        secrets = NamedObjects(cluster, "secrets") if settings.k8s_secrets_enabled else None
        source = KubernetesToolSource(cluster, watch_scope(settings), config_maps, secrets)
        specs = KubernetesSpecSource(config_maps, secrets)
        counts = CallCounts()
        lease = LeaseName(settings.k8s_lease_namespace or _own_namespace(), settings.k8s_lease_name)
        identity = f"{socket.gethostname()}_{os.getpid()}_{UuidFactory().new_id()}"
        writer = StatusWriter(cluster, source, counts, lease, identity, clock)
        background: dict[str, Background] = {
            "kubernetes lease": writer.election.run,
            "kubernetes status": writer.run,
        }
        if shared.parts is not None:
            sharing = SharedCounts(counts, shared.parts.bus, lambda: writer.election.leads_for(0))
            background["kubernetes calls"] = sharing.run
        yield KubernetesPart(
            probes=(source, writer),
            background=background,
            sources=(source,),
            specs=specs,
            credentials=() if secrets is None else (KubernetesCredentialSource(secrets),),
            catalogue_observers=(specs, writer),
            observers=(counts,),
        )
        await source.close()
        await config_maps.close()
        if secrets is not None:
            await secrets.close()
        await connection.close()


def watch_scope(settings: Settings) -> WatchScope:
    """The manifests that the settings ask for."""
    return WatchScope(settings.k8s_watch_namespace, settings.k8s_label_selector, settings.k8s_namespace_selector)


def _own_namespace() -> str:
    """The namespace of this pod; `default` outside a cluster."""
    with suppress(OSError):
        return _POD_NAMESPACE.read_text().strip()
    return "default"
