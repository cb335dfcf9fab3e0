"""Providers of the doors: the MCP engine and the HTTP application."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from dishka import AsyncContainer, Provider
from dishka import Scope as Lifetime
from dishka import provide as provide  # pyright: ignore[reportUnknownVariableType]  # its overloads are untyped

from stoa.application.concurrency.supervisor import Supervisor
from stoa.application.gateway import Gateway
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.metering.summarise_usage import SummariseUsage
from stoa.application.ports.clock import Clock
from stoa.domain.access.identity import Principal
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import Credential
from stoa.domain.errors import QuotaExceeded
from stoa.domain.policy.refusal import Refusal
from stoa.infrastructure.files.credentials.deployment_secret import load_or_create
from stoa.infrastructure.files.one_time_marks import FileOneTimeMarks
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.interfaces.bootstrap.governance import read_prices
from stoa.interfaces.bootstrap.parts import (
    FurtherBlueprints,
    IdentityPart,
    KubernetesPart,
    LimiterPart,
    MeteringPart,
    OptionalSharedState,
    PolicyPart,
    RelayPart,
    SessionParts,
    StartCheck,
    TracingPart,
    Version,
    WatchdogPart,
)
from stoa.interfaces.http.connections import STATE_KEY, STATUS_OF, Bounds, Connections, Reason
from stoa.interfaces.http.guard import Guard, Scope
from stoa.interfaces.http.lifecycle import LIFECYCLE_KEY, Lifecycle
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.engine.composition import build_engine
from stoa.interfaces.mcp.engine.engine import McpEngine
from stoa.interfaces.mcp.streams.session_ids import SealedSessionIds
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.interfaces.settings import Settings
from stoa.interfaces.wire.bodies import Bodies
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.views import view_of


class Doors(Provider):
    """MCP, REST and the operators' endpoints."""

    scope = Lifetime.APP

    @provide
    def resource(self, settings: Settings, identity: IdentityPart) -> ProtectedResource:
        metadata_url = f"{settings.url}/.well-known/oauth-protected-resource/mcp"
        # The development issuer has no page to log in at: announced, it would be a server that does not answer.
        servers = identity.verifier.issuers if identity.issuer is None else ()
        return ProtectedResource(f"{settings.url}/mcp", metadata_url, servers, settings.oidc_scope_prefix)

    @provide
    def states(
        self, settings: Settings, clock: Clock, resource: ProtectedResource, shared: OptionalSharedState
    ) -> RequestStates:
        given = settings.state_secret
        secret = _secret(settings)
        if shared.parts is not None:
            return RequestStates(secret, clock, resource.url, shared.parts.marks)
        own = secret if given is None else load_or_create(settings.data_dir)
        marks = FileOneTimeMarks(settings.data_dir / "used-states", clock)
        reach = hashlib.sha256(b"stoa one-time marks" + own).hexdigest()
        return RequestStates(secret, clock, resource.url, marks, reach)

    @provide
    def sessions(
        self,
        settings: Settings,
        clock: Clock,
        shared: OptionalSharedState,
        resource: ProtectedResource,
        supervisor: Supervisor,
    ) -> SessionParts:
        replicated = shared.parts
        if settings.sessions == "none":
            return SessionParts(None)
        if settings.sessions == "memory" or replicated is None:
            ids = SealedSessionIds(_secret(settings), clock, resource.url)
            store, streams = InMemorySessionStore(clock), Streams(InMemoryEventStore())
            return SessionParts(Sessions(store, streams, sealed_ids=ids))
        return SessionParts(
            Sessions(replicated.sessions, Streams(replicated.events, replicated.bus, report=supervisor.report))
        )

    @provide
    async def engine(
        self,
        clock: Clock,
        gateway: Gateway,
        resource: ProtectedResource,
        version: Version,
        states: RequestStates,
        parts: SessionParts,
        shared: OptionalSharedState,
        supervisor: Supervisor,
    ) -> AsyncIterator[McpEngine]:
        bus = None if shared.parts is None else shared.parts.bus
        engine = build_engine(
            gateway,
            resource,
            version,
            states=states,
            sessions=parts.sessions,
            bus=bus,
            clock=clock,
            report=supervisor.report,
        )
        yield engine
        await engine.close()

    @provide
    def further_blueprints(self) -> FurtherBlueprints:
        """Override it to serve further routes."""
        return FurtherBlueprints()

    @provide
    def app(
        self,
        settings: Settings,
        gateway: Gateway,
        engine: McpEngine,
        resource: ProtectedResource,
        policy_part: PolicyPart,
        limiter_part: LimiterPart,
        metering: MeteringPart,
        relay_part: RelayPart,
        watchdog_part: WatchdogPart,
        kubernetes_part: KubernetesPart,
        tracing_part: TracingPart,
        prometheus: PrometheusObserver,
        identity: IdentityPart,
        version: Version,
        parts: SessionParts,
        shared: OptionalSharedState,
        usage: SummariseUsage,
        supervisor: Supervisor,
        further: FurtherBlueprints,
        check: StartCheck,
        container: AsyncContainer,
    ) -> Guard:
        # 200 ms of imports, only where HTTP is served.
        from stoa.interfaces.http.addresses import Addresses
        from stoa.interfaces.http.app import Lifespan, build_app
        from stoa.interfaces.http.metadata import metadata_blueprint
        from stoa.interfaces.mcp.transports.streamable_http import StreamableHttp
        from stoa.interfaces.rest.operations import operations_blueprint
        from stoa.interfaces.rest.routes import rest_blueprint

        sessions = parts.sessions if settings.sessions == "redis" else None
        served_parts = [
            policy_part,
            metering,
            limiter_part,
            relay_part,
            watchdog_part,
            kubernetes_part,
            tracing_part,
            identity,
            *([shared.parts] if shared.parts else ()),
        ]

        async def start() -> None:
            if identity.provider is not None:
                await identity.provider.start()
            await gateway.loader.execute()
            check.run(gateway.loader)
            await engine.open()
            if sessions is not None:
                await sessions.open()
            supervisor.start({"catalogue": gateway.loader.watch, "tasks": engine.watch_tasks})
            for part in served_parts:
                supervisor.start(part.background)

        async def stop() -> None:
            await supervisor.stop()
            if sessions is not None:
                await sessions.close()
            await container.close()

        addresses = Addresses.parse(settings.trusted_proxies)

        async def authenticate(scope: Scope, credential: Credential) -> Principal:
            wait_us = gateway.strangers.wait_us(addresses.of(scope), credential)
            if wait_us:  # the door says it in its own words
                raise QuotaExceeded("requests without a valid token", wait_us / 1e6)
            return await gateway.callers.authenticate(credential)

        async def prices() -> None:
            gateway.pricing.replace(await asyncio.to_thread(read_prices, settings))

        bodies = Bodies()
        bounds = Bounds(
            connections=settings.max_connections,
            connections_per_address=settings.max_connections_per_address,
            head_seconds=settings.head_timeout_seconds,
            body_seconds=settings.body_timeout_seconds,
            write_seconds=settings.write_timeout_seconds,
        )

        def unserved(reason: Reason, words: str, address: str) -> None:
            status = STATUS_OF.get(reason, 0)
            gateway.refusals.tell(Refusal(RefusalReason(reason), "http", status, address=address or None, detail=words))

        connections = Connections(bounds, unserved, is_proxy=addresses.is_proxy)
        lifecycle = Lifecycle(
            connections,
            gateway.invoke_operation.running,
            engine.end_streams,
            drain_seconds=settings.shutdown_drain_seconds,
            grace_seconds=settings.shutdown_grace_seconds,
            reloads={"catalogue": gateway.loader.execute, "prices": prices, **policy_part.reloads},
        )

        def refused(reason: RefusalReason, status: int, scope: Scope) -> None:
            gateway.refusals.tell(Refusal(reason, "http", status, address=addresses.of(scope)))

        is_open = settings.identity == "none"
        probes = [lifecycle, gateway.loader, supervisor, *(probe for part in served_parts for probe in part.probes)]
        view = view_of(profile=settings.mcp_profile)
        return build_app(
            mcp=StreamableHttp(engine, view=view, bodies=bodies, address_of=addresses.of),
            blueprints=[
                operations_blueprint(
                    probes, prometheus.exposition, version, gateway.callers, gateway.strangers, addresses.of
                ),
                metadata_blueprint(None if is_open else resource, identity.issuer),
                rest_blueprint(gateway, resource, version, usage, addresses.of),
                *(make() for make in further.make),
            ],
            lifespan=Lifespan(start, stop),
            refused=refused,
            hosts=settings.hosts,
            origins=settings.origins,
            authenticate=authenticate,
            bodies=bodies,
            state={STATE_KEY: connections, LIFECYCLE_KEY: lifecycle},
        )


def _secret(settings: Settings) -> bytes:
    """The secret of all seals, the same after restarts."""
    given = settings.state_secret
    return load_or_create(settings.data_dir) if given is None else given.get_secret_value().encode()
