"""Entry points of a process: the ASGI application of a worker, or MCP over standard input and output."""

from contextlib import suppress
from importlib import import_module

from dishka import AsyncContainer

from stoa.application.concurrency.supervisor import Supervisor
from stoa.application.gateway import Gateway
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.clock import Clock
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import Credential
from stoa.domain.errors import StoaError
from stoa.infrastructure.observability.logs import configure_logging
from stoa.infrastructure.observability.prometheus import share_metrics
from stoa.interfaces.bootstrap.container import build_container
from stoa.interfaces.bootstrap.parts import (
    KubernetesPart,
    LimiterPart,
    OptionalSharedState,
    PolicyPart,
    RelayPart,
    StartCheck,
    TracingPart,
    Version,
    WatchdogPart,
)
from stoa.interfaces.bootstrap.served_spec import ServedSpec, ServedSpecProvider
from stoa.interfaces.http.guard import AsgiApp, Guard, Receive, Scope, Send
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.engine.composition import build_engine
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.interfaces.mcp.transports.stdio_connection import StdioConnection
from stoa.interfaces.mcp.transports.stdio_process import serve_process
from stoa.interfaces.settings import Settings
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.credentials import CredentialNow
from stoa.interfaces.wire.views import View, view_of

_PRELOADED = (
    "stoa.infrastructure.opa.sidecar",
    "stoa.infrastructure.graphql",
    "stoa.infrastructure.grpc",
    "stoa.infrastructure.kafka",
    "stoa.infrastructure.mcp_upstream",
    "stoa.infrastructure.openapi",
    "stoa.infrastructure.rest",
    "stoa.infrastructure.files.specs",
    "stoa.infrastructure.http_client.spec_source",
    "stoa.infrastructure.http_client.token_endpoint",
    "stoa.interfaces.bootstrap.embedded_policy",
    "stoa.interfaces.bootstrap.openid_provider",
    "stoa.interfaces.http.addresses",
    "stoa.interfaces.http.app",
    "stoa.interfaces.http.metadata",
    "stoa.interfaces.mcp.transports.streamable_http",
    "stoa.interfaces.rest.operations",
    "stoa.interfaces.rest.routes",
)
"""Modules that the providers import on first use (tests/interfaces/test_start_up_imports.py)."""
_LIFE_SECONDS = 1e9
"""Lifetime of the only session on stdio, which lasts as long as the process."""


async def serve_stdio(
    container: AsyncContainer,
    credential: CredentialNow | None = None,
    *,
    connection: StdioConnection | None = None,
    tenant: TenantId | None = None,
    view: View | None = None,
) -> None:
    """Serves MCP over this process's standard input and output, until the client goes away or a signal arrives. The
    container stays open. Without `credential` the client is not authenticated, which only IDENTITY_PROVIDER=none
    accepts. `connection`: the connection on which the client is being greeted already."""
    if connection is None:
        with StdioConnection() as own:
            await serve_stdio(container, credential, connection=own, tenant=tenant, view=view)
        return
    gateway, clock = await container.get(Gateway), await container.get(Clock)
    shared = (await container.get(OptionalSharedState)).parts
    supervisor = await container.get(Supervisor)
    engine = build_engine(
        gateway,
        await container.get(ProtectedResource),
        await container.get(Version),
        states=await container.get(RequestStates),
        sessions=Sessions(InMemorySessionStore(clock, idle_seconds=_LIFE_SECONDS), Streams(InMemoryEventStore())),
        bus=None if shared is None else shared.bus,
        clock=clock,
        report=supervisor.report,
    )
    await gateway.loader.execute()
    (await container.get(StartCheck)).run(gateway.loader)
    await engine.open()
    supervisor.start({"catalogue": gateway.loader.watch, "tasks": engine.watch_tasks})
    for part in (PolicyPart, LimiterPart, RelayPart, WatchdogPart, KubernetesPart, TracingPart):
        supervisor.start((await container.get(part)).background)
    if shared is not None:
        supervisor.start(shared.background)
    try:
        shown = view or view_of(profile=(await container.get(Settings)).mcp_profile)
        await serve_process(engine, credential or _no_credential, connection, tenant=tenant, view=shown)
    finally:
        await engine.close()
        await supervisor.stop()


async def _no_credential() -> Credential:
    return None


def start_logging(settings: Settings) -> None:
    configure_logging("debug" if settings.debug else settings.log_level, settings.log_format)


def preload(settings: Settings) -> None:
    """Imports the modules that `create_app` needs, so that processes forked from this one share them. Creates nothing,
    because no thread, loop or connection would survive the fork. Metrics of the forks are shared in
    PROMETHEUS_MULTIPROC_DIR."""
    share_metrics()
    names = ["uvicorn.loops.uvloop", "uvicorn.lifespan.on", *_PRELOADED]
    if settings.redis_url is not None:
        names.append("stoa.infrastructure.redis")
    if settings.k8s_watcher_enabled:
        names += ["stoa.infrastructure.kubernetes.manifests", "stoa.infrastructure.kubernetes.status"]
        if settings.kubeconfig_path is not None:
            names.append("kubernetes_asyncio.config")
    if settings.relay_servers:
        names.append("stoa.infrastructure.kafka.publisher")
    for name in names:
        with suppress(ModuleNotFoundError):  # not on Windows, or an extra that is not installed: said where it is used
            import_module(name)


def create_app(spec: ServedSpec | None = None) -> AsgiApp:
    """The whole gateway as an ASGI application, configured by the environment: `uvicorn --factory
    stoa.interfaces.bootstrap:create_app`. `stoa serve` runs it with a server that also bounds connections. `spec`: an
    API description to serve besides the catalogue."""
    settings = Settings()
    start_logging(settings)
    container = build_container(settings, *([] if spec is None else [ServedSpecProvider(spec)]))
    doors: list[AsgiApp] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not doors:  # the first call is the lifespan's: the parts are made in the loop that will serve
            try:
                await container.get(BoundedExecutor)  # first: its process starts while the other parts are made
                doors.append(await container.get(Guard))
            except StoaError as refused:
                await receive()
                await send({"type": "lifespan.startup.failed", "message": f"stoa: {refused.message}"})
                await container.close()  # the parts that were made: one may have started a process
                return
        await doors[0](scope, receive, send)

    return app
