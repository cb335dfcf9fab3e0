"""A gateway whose catalogue is in a cluster, without doors."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes import ApiServer, cluster_at, serving

from stoa.application.gateway import Gateway
from stoa.application.memory.clock import SystemClock
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports.tool_backend import BackendCall, CallContext, ToolBackend
from stoa.domain.access.identity import Principal
from stoa.domain.operations.operation import Operation
from stoa.domain.results.result import TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.files.specs import SpecSourceByScheme
from stoa.infrastructure.graphql import GraphQlSpecKind
from stoa.infrastructure.kubernetes.api import NamedObjects
from stoa.infrastructure.kubernetes.manifests import (
    KubernetesCredentialSource,
    KubernetesSpecSource,
    KubernetesToolSource,
)
from stoa.infrastructure.kubernetes.status import CallCounts, LeaseName, StatusWriter
from stoa.infrastructure.kubernetes.status.rate import WriteRate
from stoa.infrastructure.kubernetes.status.status_writer import FLUSH_SECONDS
from stoa.infrastructure.kubernetes.watch_scope import WatchScope
from stoa.infrastructure.openapi import OpenApiSpecKind

_EVERYTHING = WatchScope()
PETS = """
openapi: 3.0.0
info: {title: Pets, version: "1"}
servers: [{url: https://pets.example/v1}]
paths:
  /pets:
    get: {operationId: listPets, summary: All pets, responses: {"200": {description: ok}}}
"""


def tool(name: str, namespace: str = "acme", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "Tool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"endpoint": f"https://pets.example/{name}", "method": "GET", **spec},
    }


def tool_set(name: str, namespace: str = "acme", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "ToolSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


class Answering(ToolBackend):
    """Answers tools without a network: `fail` is an error, everything else is fine."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def prepare(self, tool: Operation) -> BackendCall:
        return _Answer(is_error=tool.name == "fail")

    async def close(self) -> None:
        pass


class _Answer(BackendCall):
    def __init__(self, *, is_error: bool) -> None:
        self._is_error = is_error

    async def __call__(self, arguments: JsonObject, context: CallContext) -> ToolResult:
        return ToolResult((TextContent("answer"),), is_error=self._is_error)


@dataclass
class Here:
    """One replica."""

    gateway: Gateway
    source: KubernetesToolSource
    credentials: KubernetesCredentialSource | None
    writer: StatusWriter
    pauses: list[float]

    def names(self, tenant: str) -> list[str]:
        """The names of the tenant's tools."""
        return sorted(key.name for key in self.gateway.catalogue.tools if key.tenant == tenant)

    async def call(self, name: str, tenant: str = "acme") -> str:
        """The status of one call."""
        caller = Principal.of("ada", tenant=tenant, roles=["tenant-admin"])
        return str((await self.gateway.invoke(name, {}, caller)).status)

    async def until(self, is_reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not is_reached():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def replica_of(
    folder: Path,
    url: str,
    *,
    scope: WatchScope = _EVERYTHING,
    reads_secrets: bool = False,
    identity: str = "first",
    rate: WriteRate | None = None,
    further: InMemorySpecSource | None = None,
) -> AsyncIterator[Here]:
    """A replica that follows the cluster until the block ends."""
    clock = SystemClock()
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(min(seconds, 0.01))

    async def often(seconds: float) -> None:
        await asyncio.sleep(0.01 if seconds == FLUSH_SECONDS else seconds)

    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(cluster_at(folder, url, sleep=sleep))
        config_maps = NamedObjects(cluster, "configmaps")
        secrets = NamedObjects(cluster, "secrets") if reads_secrets else None
        source = KubernetesToolSource(cluster, scope, config_maps, secrets)
        specs = KubernetesSpecSource(config_maps, secrets)
        counts = CallCounts()
        writer = StatusWriter(
            cluster, source, counts, LeaseName("stoa", "gateway"), identity, clock, rate=rate, sleep=often
        )
        remote = further or InMemorySpecSource()
        credentials = None if secrets is None else KubernetesCredentialSource(secrets)
        gateway = Gateway(
            clock=clock,
            backends=[Answering("rest"), Answering("graphql")],
            sources=[source],
            specs=SpecSourceByScheme(files=remote, remote=remote, cluster=specs),
            spec_kinds=[OpenApiSpecKind(), GraphQlSpecKind()],
            catalogue_observers=[specs, writer],
            observers=[counts],
            credentials=credentials,
        )
        for close in (gateway.close, source.close, config_maps.close, *([] if secrets is None else [secrets.close])):
            stack.push_async_callback(close)
        await gateway.loader.execute()
        work = [gateway.loader.watch(), writer.run(), writer.election.run()]
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield Here(gateway, source, credentials, writer, pauses)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def gateway_on(folder: Path, server: ApiServer, **options: Any) -> AsyncIterator[Here]:
    """One replica, and its server."""
    async with serving(server) as url, replica_of(folder, url, **options) as here:
        yield here
