"""The composition root: the only module that knows both the adapters and the doors.

`build_container` wires everything with dishka; tests and embedding programs replace parts by passing a provider with
`override=True`. `app_from_environment` is what the server's workers load.
"""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NewType

from dishka import STRICT_VALIDATION, AsyncContainer, Provider, from_context, make_async_container
from dishka import Scope as Lifetime
from dishka import provide as provide  # pyright: ignore[reportUnknownVariableType]  # its overloads are untyped

from stoa.application.budgets import Budgets
from stoa.application.fallback_rate_limiter import FallbackRateLimiter
from stoa.application.gateway import Gateway
from stoa.application.memory.budget_ledger import InMemoryBudgetLedger
from stoa.application.memory.clock import SystemClock
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.ids import UuidFactory
from stoa.application.memory.metering import MeteringOff
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.memory.rate_limiter import DividedRateLimiter, InMemoryRateLimiter, Unlimited
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.application.ports.budget_ledger import BudgetLedger
from stoa.application.ports.clock import Clock
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.event_store import EventStore
from stoa.application.ports.health import HealthProbe
from stoa.application.ports.message_bus import MessageBus
from stoa.application.ports.metering import MeteringSink, UsageLog
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.session_store import SessionStore
from stoa.application.ports.spec import SpecConverter, SpecSource
from stoa.application.ports.task_store import TaskStore
from stoa.application.ports.token_endpoint import TokenEndpoint
from stoa.application.ports.token_verifier import TokenIssuer, TokenVerifier
from stoa.application.ports.tool_backend import ToolBackend
from stoa.application.ports.tool_source import ToolSource
from stoa.application.price_manifest import parse_budgets, parse_price_list
from stoa.application.relay_events import RelayEvents
from stoa.application.summarise_usage import SummariseUsage
from stoa.application.upstream_tokens import UpstreamTokens
from stoa.domain.errors import InvalidInput, StoaError
from stoa.domain.identity import Principal, TenantId
from stoa.domain.invocation import Credential
from stoa.domain.price_list import PriceList
from stoa.infrastructure.credentials import ChainedCredentialSource, EnvironmentCredentialSource, FileCredentialSource
from stoa.infrastructure.credentials.deployment_secret import load_or_create
from stoa.infrastructure.manifest_files import DEFAULT_PRICES_FILE, FileToolSource, read_document
from stoa.infrastructure.observability.audit_log import AuditLog
from stoa.infrastructure.observability.logs import configure_logging
from stoa.infrastructure.observability.prometheus import PrometheusObserver, RelayCollector
from stoa.infrastructure.oidc import DevIssuer, JwtTokenVerifier, KeycloakTokenVerifier, StaticKeys
from stoa.infrastructure.oidc.provider_client import ProviderClient
from stoa.infrastructure.opa.embedded import DEFAULT_BUNDLE, OpaWasmPolicyEngine
from stoa.infrastructure.opa.module_cache import ModuleCache
from stoa.infrastructure.opa.sidecar import OpaServerPolicyEngine
from stoa.infrastructure.openapi import OpenApiConverter
from stoa.infrastructure.outbound import OutboundRules
from stoa.infrastructure.outbox import (
    OutboxMeteringBacklog,
    OutboxMeteringSink,
    OutboxUsageLog,
    relayed_segments,
)
from stoa.infrastructure.rest import RestBackend
from stoa.infrastructure.specs import FileSpecSource, HttpSpecSource, SpecSourceByScheme
from stoa.infrastructure.task_files import FileTaskStore
from stoa.infrastructure.upstream_tokens import HttpTokenEndpoint
from stoa.interfaces.challenge import ProtectedResource
from stoa.interfaces.http.app import Lifespan, build_app
from stoa.interfaces.http.guard import AsgiApp, Guard, Receive, Scope, Send
from stoa.interfaces.http.metadata import metadata_blueprint
from stoa.interfaces.http.operations import operations_blueprint
from stoa.interfaces.http.rest import rest_blueprint
from stoa.interfaces.mcp.engine import McpEngine
from stoa.interfaces.mcp.exchange import View
from stoa.interfaces.mcp.request_state import RequestStates
from stoa.interfaces.mcp.sessions import Sessions
from stoa.interfaces.mcp.stdio import CredentialNow
from stoa.interfaces.mcp.stdio_process import serve_process
from stoa.interfaces.mcp.streamable_http import StreamableHttp
from stoa.interfaces.mcp.streams import Streams
from stoa.interfaces.mcp.views import view_of
from stoa.interfaces.settings import Settings

DEV_ISSUER = "http://127.0.0.1/stoa-dev-issuer"
"""Issuer identifier of development tokens: one name whatever the port, so that a token outlives a restart."""

ANONYMOUS = Principal.of("anonymous", roles=["viewer"])

Version = NewType("Version", str)

_LIMITS_WAIT_SECONDS = 0.5
"""For an answer of Redis. Shorter would take a busy moment of this process for an outage."""

_LIFE_SECONDS = 1e9
"""The one session on stdio lasts as long as the process."""


@dataclass(frozen=True, slots=True)
class Metering:
    """Both ends of where events are kept, and its health."""

    sink: MeteringSink
    log: UsageLog
    probe: HealthProbe


@dataclass(frozen=True, slots=True)
class Relaying:
    """What forwards metering events, where KAFKA_BOOTSTRAP_SERVERS says so."""

    relay: RelayEvents | None


@dataclass(frozen=True, slots=True)
class Shared:
    """What replicas share, where REDIS_URL says so."""

    bus: MessageBus
    probe: HealthProbe
    sessions: SessionStore
    events: EventStore
    tasks: TaskStore
    budgets: BudgetLedger


@dataclass(frozen=True, slots=True)
class Sharing:
    """None: this process shares nothing."""

    parts: Shared | None


@dataclass(frozen=True, slots=True)
class SessionParts:
    """Sessions of the handshake era, if there are any."""

    sessions: Sessions | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who verifies tokens, and in development who makes them."""

    verifier: TokenVerifier
    issuer: TokenIssuer | None
    keycloak: KeycloakTokenVerifier | None = None


@dataclass(frozen=True, slots=True)
class Limiting:
    """Who counts; where replicas count together, its health and what has to run beside it."""

    limiter: RateLimiter
    probe: HealthProbe | None = None
    watch: Callable[[], Coroutine[None, None, None]] | None = None


@dataclass(frozen=True, slots=True)
class Policing:
    """Who decides, its health, and what has to run beside it."""

    engine: PolicyEngine
    probe: HealthProbe
    watch: Callable[[], Coroutine[None, None, None]] | None = None


class Core(Provider):
    """Everything below the doors."""

    scope = Lifetime.APP
    settings = from_context(Settings, scope=Lifetime.APP)

    @provide
    def version(self) -> Version:
        return Version(version("stoa-mcp-gateway"))

    @provide
    def clock(self) -> Clock:
        return SystemClock()

    @provide
    def outbound(self, settings: Settings) -> OutboundRules:
        return OutboundRules.parse(settings.private_networks)

    @provide
    async def identity(self, settings: Settings, clock: Clock, rules: OutboundRules) -> AsyncIterator[Identity]:
        if settings.identity == "none":
            yield Identity(InMemoryTokenVerifier({}, clock), None)
            return
        if settings.identity == "keycloak":
            keycloak = KeycloakTokenVerifier(
                url=settings.provider_url,
                realm=settings.keycloak_realm,
                audiences=settings.audiences,
                clock=clock,
                client_id=settings.keycloak_client_id,
                tenant_claim=settings.tenant_claim,
                introspection_secret=settings.keycloak_client_secret if settings.token_introspection else None,
                http=ProviderClient(rules),
            )
            yield Identity(keycloak, None, keycloak)
            await keycloak.close()
            return
        audience = min(settings.audiences, key=lambda name: ("://" in name, name))
        issuer = DevIssuer(settings.data_dir, DEV_ISSUER, audience, clock, settings.environment)
        keys = StaticKeys(issuer.key_set())
        yield Identity(
            JwtTokenVerifier(keys=keys, issuer=DEV_ISSUER, audiences=settings.audiences, clock=clock), issuer
        )

    @provide
    async def policing(self, settings: Settings, clock: Clock) -> AsyncIterator[Policing]:
        if not settings.opa_enabled:
            rules = RulesPolicyEngine()
            yield Policing(rules, rules)
        elif settings.opa_embedded:
            cache = ModuleCache(settings.data_dir / "policy-cache")
            path = settings.opa_policy_path or DEFAULT_BUNDLE
            embedded = OpaWasmPolicyEngine(path, environment=settings.environment, cache=cache)
            yield Policing(embedded, embedded, embedded.watch if settings.opa_policy_path else None)
        else:
            server = OpaServerPolicyEngine(settings.opa_url, clock, environment=settings.environment)
            yield Policing(server, server, server.watch)
            await server.close()

    @provide
    def policy(self, policing: Policing) -> PolicyEngine:
        return policing.engine

    @provide
    async def limiting(
        self, settings: Settings, clock: Clock, prometheus: PrometheusObserver
    ) -> AsyncIterator[Limiting]:
        if not settings.rate_limit_enabled:
            yield Limiting(Unlimited())
            return
        if settings.redis_url is None:
            yield Limiting(DividedRateLimiter(InMemoryRateLimiter(clock), lambda: settings.replicas))
            return
        from stoa.infrastructure import redis  # 6 MiB, for those who share something

        # A connection of its own: a call waits for less long than a session does, for there is another way to count.
        url = settings.redis_url.get_secret_value()
        connection = redis.RedisConnection(url, timeout_seconds=_LIMITS_WAIT_SECONDS)
        replicas = redis.ReplicaCount(connection, assumed=settings.replicas)
        shared = redis.RedisRateLimiter(connection, clock)
        limiter = FallbackRateLimiter(shared, clock, replicas, told=prometheus.limits().told)
        yield Limiting(limiter, limiter, replicas.watch)
        await replicas.leave()
        await connection.close()

    @provide
    def limiter(self, limiting: Limiting) -> RateLimiter:
        return limiting.limiter

    @provide
    async def metering(self, settings: Settings, clock: Clock) -> AsyncIterator[Metering]:
        if not settings.metering_enabled:
            off = MeteringOff()
            yield Metering(off, off, off)
            return
        directory = settings.data_dir / "outbox"
        outbox = OutboxMeteringSink(
            directory,
            clock=clock,
            durability=settings.metering_durability,
            max_total_bytes=settings.metering_max_bytes,
            relayed=relayed_segments if settings.relay_servers else None,
        )
        yield Metering(outbox, OutboxUsageLog(directory), outbox)
        await outbox.close()

    @provide
    async def relaying(self, settings: Settings, clock: Clock) -> AsyncIterator[Relaying]:
        if not settings.relay_servers:
            yield Relaying(None)
            return
        try:
            from stoa.infrastructure.kafka.publisher import KafkaEventPublisher  # 7 MiB, for those who have a broker
        except ModuleNotFoundError as missing:
            raise InvalidInput(
                "KAFKA_BOOTSTRAP_SERVERS: aiokafka is not installed; install stoa-mcp-gateway[kafka], or set "
                "KAFKA_BOOTSTRAP_SERVERS=none to forward nothing"
            ) from missing
        publisher = KafkaEventPublisher(
            settings.relay_servers,
            topic=settings.metering_topic,
            envelope=settings.metering_envelope,
            source=settings.url,
            security_protocol=settings.kafka_security_protocol,
            sasl_mechanism=settings.kafka_sasl_mechanism,
            username=settings.kafka_username,
            password=settings.kafka_password,
        )
        relay = RelayEvents(
            backlog=OutboxMeteringBacklog(settings.data_dir / "outbox"), publisher=publisher, clock=clock
        )
        yield Relaying(relay)
        await relay.close()

    @provide
    async def sharing(self, settings: Settings, clock: Clock) -> AsyncIterator[Sharing]:
        if settings.redis_url is None:
            yield Sharing(None)
            return
        from stoa.infrastructure import redis  # 6 MiB, for those who share something

        connection = redis.RedisConnection(settings.redis_url.get_secret_value())
        bus, tasks = redis.RedisMessageBus(connection), redis.RedisTaskStore(connection, clock)
        sessions, events = redis.RedisSessionStore(connection, clock), redis.RedisEventStore(connection, clock)
        budgets = redis.RedisBudgetLedger(connection)
        yield Sharing(Shared(bus, bus, sessions, events, tasks, budgets))
        await budgets.close()
        await tasks.close()
        await bus.close()
        await connection.close()

    @provide
    async def tasks(self, settings: Settings, clock: Clock, sharing: Sharing) -> AsyncIterator[TaskStore]:
        if sharing.parts is not None:
            yield sharing.parts.tasks
            return
        store = FileTaskStore(settings.data_dir / "tasks.db", clock)
        yield store
        await store.close()

    @provide
    def prices(self, settings: Settings) -> PriceList:
        path = settings.prices_path or DEFAULT_PRICES_FILE
        return parse_price_list(read_document(path), f"PRICES_PATH={path}")

    @provide
    def budgets(
        self, settings: Settings, clock: Clock, sharing: Sharing, metering: Metering, prometheus: PrometheusObserver
    ) -> Budgets:
        path = settings.budgets_path
        limits = () if path is None else parse_budgets(read_document(path), f"BUDGETS_PATH={path}")
        if sharing.parts is not None:
            return Budgets(limits, sharing.parts.budgets, clock, [prometheus])
        ledger = InMemoryBudgetLedger()
        budgets = Budgets(limits, ledger, clock, [prometheus])
        if limits:
            for account, spent in budgets.recorded(metering.log.events()).items():
                ledger.prime(account, spent)
        return budgets

    @provide
    def credentials(self, settings: Settings) -> CredentialSource:
        environment = EnvironmentCredentialSource(os.environ)
        if settings.secrets_dir is None:
            return environment
        return ChainedCredentialSource([FileCredentialSource(settings.secrets_dir), environment])

    @provide
    def backend(self, credentials: CredentialSource, rules: OutboundRules) -> ToolBackend:
        return RestBackend(credentials, rules=rules)

    @provide
    def token_endpoint(self, rules: OutboundRules) -> TokenEndpoint:
        return HttpTokenEndpoint(rules)

    @provide
    def upstream_tokens(
        self, endpoint: TokenEndpoint, credentials: CredentialSource, clock: Clock, identity: Identity
    ) -> UpstreamTokens:
        return UpstreamTokens(endpoint, credentials, clock, issuers=identity.verifier.issuers)

    @provide
    def sources(self, settings: Settings) -> list[ToolSource]:
        return [FileToolSource([Path(path) for path in settings.catalogue_path])] if settings.catalogue_path else []

    @provide
    def specs(self, rules: OutboundRules) -> SpecSource:
        return SpecSourceByScheme(files=FileSpecSource(), remote=HttpSpecSource(rules=rules))

    @provide
    def converters(self) -> dict[str, SpecConverter]:
        return {"openAPI": OpenApiConverter()}

    @provide
    def prometheus(self) -> PrometheusObserver:
        return PrometheusObserver(is_multiprocess="PROMETHEUS_MULTIPROC_DIR" in os.environ)

    @provide
    def audit(self) -> Iterator[AuditLog]:
        audit = AuditLog(sys.stderr.buffer)
        yield audit
        audit.flush()

    @provide
    async def gateway(
        self,
        settings: Settings,
        clock: Clock,
        identity: Identity,
        policy: PolicyEngine,
        limiter: RateLimiter,
        metering: Metering,
        tasks: TaskStore,
        backend: ToolBackend,
        sources: list[ToolSource],
        specs: SpecSource,
        converters: dict[str, SpecConverter],
        upstream_tokens: UpstreamTokens,
        prices: PriceList,
        budgets: Budgets,
        prometheus: PrometheusObserver,
        audit: AuditLog,
    ) -> AsyncIterator[Gateway]:
        gateway = Gateway(
            clock=clock,
            ids=UuidFactory(),
            verifier=identity.verifier,
            policy=policy,
            limiter=limiter,
            sink=metering.sink,
            tasks=tasks,
            backends=[backend],
            sources=sources,
            specs=specs,
            converters=converters,
            upstream_tokens=upstream_tokens,
            observers=[prometheus, audit],
            prices=prices,
            budgets=budgets,
            limits=settings.limits,
            client_requests=settings.client_requests.to_domain(),
            anonymous=ANONYMOUS if settings.identity == "none" else None,
        )
        yield gateway
        await gateway.close()

    @provide
    def summarise_usage(self, metering: Metering) -> SummariseUsage:
        return SummariseUsage(metering.log)


class Doors(Provider):
    """MCP, REST and the operators' endpoints."""

    scope = Lifetime.APP

    @provide
    def resource(self, settings: Settings, identity: Identity) -> ProtectedResource:
        metadata_url = f"{settings.url}/.well-known/oauth-protected-resource/mcp"
        return ProtectedResource(f"{settings.url}/mcp", metadata_url, identity.verifier.issuers)

    @provide
    def states(self, settings: Settings, clock: Clock, resource: ProtectedResource) -> RequestStates:
        given = settings.state_secret
        secret = load_or_create(settings.data_dir) if given is None else given.get_secret_value().encode()
        return RequestStates(secret, clock, resource.url)

    @provide
    def sessions(self, settings: Settings, clock: Clock, sharing: Sharing) -> SessionParts:
        shared = sharing.parts
        if settings.sessions == "none":
            return SessionParts(None)
        if settings.sessions == "memory" or shared is None:
            return SessionParts(Sessions(InMemorySessionStore(clock), Streams(InMemoryEventStore())))
        return SessionParts(Sessions(shared.sessions, Streams(shared.events, shared.bus)))

    @provide
    async def engine(
        self,
        clock: Clock,
        gateway: Gateway,
        resource: ProtectedResource,
        version: Version,
        states: RequestStates,
        parts: SessionParts,
        sharing: Sharing,
    ) -> AsyncIterator[McpEngine]:
        bus = None if sharing.parts is None else sharing.parts.bus
        engine = McpEngine(gateway, resource, version, states=states, sessions=parts.sessions, bus=bus, clock=clock)
        yield engine
        await engine.close()

    @provide
    def app(
        self,
        settings: Settings,
        gateway: Gateway,
        engine: McpEngine,
        resource: ProtectedResource,
        policing: Policing,
        limiting: Limiting,
        metering: Metering,
        relaying: Relaying,
        prometheus: PrometheusObserver,
        identity: Identity,
        version: Version,
        parts: SessionParts,
        sharing: Sharing,
        usage: SummariseUsage,
        container: AsyncContainer,
    ) -> Guard:
        watchers: list[asyncio.Task[None]] = []
        sessions = parts.sessions if settings.sessions == "redis" else None

        async def start() -> None:
            if identity.keycloak is not None:
                await identity.keycloak.start()
            await gateway.catalogue.execute()
            await engine.open()
            if sessions is not None:
                await sessions.open()
            _quieten_collector()
            watchers.append(asyncio.create_task(_watch("catalogue", gateway.catalogue.watch())))
            if policing.watch is not None:
                watchers.append(asyncio.create_task(_watch("policy", policing.watch())))
            if relaying.relay is not None:
                watchers.append(asyncio.create_task(relaying.relay.run()))
            if limiting.watch is not None:
                watchers.append(asyncio.create_task(_watch("number of replicas", limiting.watch())))

        async def stop() -> None:
            for task in watchers:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            if sessions is not None:
                await sessions.close()
            await container.close()

        is_open = settings.identity == "none"
        probes = [gateway.catalogue, policing.probe, metering.probe]
        if sharing.parts is not None:
            probes.append(sharing.parts.probe)
        if limiting.probe is not None:
            probes.append(limiting.probe)
        if identity.keycloak is not None:
            probes.append(identity.keycloak)
        if relaying.relay is not None:
            probes.append(relaying.relay)
            prometheus.add(RelayCollector(relaying.relay))
        return build_app(
            mcp=StreamableHttp(engine, view=view_of(profile=settings.mcp_profile)),
            blueprints=[
                operations_blueprint(probes, prometheus.exposition, version),
                metadata_blueprint(None if is_open else resource, identity.issuer),
                rest_blueprint(gateway, resource, version, usage),
            ],
            lifespan=Lifespan(start, stop),
            hosts=settings.hosts,
            origins=settings.cors_origins,
        )


class CommandLine(Provider):
    """What is different in a command: its terminal shows the answer, so the audit trail goes to a file."""

    scope = Lifetime.APP

    @provide(override=True)
    def audit(self, settings: Settings) -> Iterator[AuditLog]:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with (settings.data_dir / "audit.jsonl").open("ab") as stream:
            audit = AuditLog(stream)
            yield audit
            audit.flush()


def topic_log_of(servers: str, topic: str) -> UsageLog:
    """What a Kafka topic holds. Raises InvalidInput where the extra is not installed."""
    try:
        from stoa.infrastructure.kafka.topic_log import KafkaUsageLog
    except ModuleNotFoundError as absent:
        raise InvalidInput("reading Kafka needs the extra: pip install 'stoa-mcp-gateway[kafka]'") from absent
    return KafkaUsageLog(servers, topic)


def policy_of(bundle: Path) -> PolicyEngine:
    """The policy in a file, by itself. Raises InvalidInput when it cannot be used."""
    return OpaWasmPolicyEngine(bundle)


async def _watch(what: str, watching: Coroutine[None, None, None]) -> None:
    try:
        await watching
    except Exception:  # the calls go on with what was there; only the log can tell
        logging.getLogger(__name__).exception("the %s is no longer watched; restart to read changes", what)


async def serve_stdio(
    container: AsyncContainer,
    credential: CredentialNow | None = None,
    *,
    tenant: TenantId | None = None,
    view: View | None = None,
) -> None:
    """MCP at this process's standard input and output, until the client goes away or a signal says so. The container
    stays open. Without `credential` nobody vouches for the client, which only IDENTITY_PROVIDER=none lets in."""
    gateway, clock = await container.get(Gateway), await container.get(Clock)
    shared = (await container.get(Sharing)).parts
    engine = McpEngine(
        gateway,
        await container.get(ProtectedResource),
        await container.get(Version),
        states=await container.get(RequestStates),
        sessions=Sessions(InMemorySessionStore(clock, idle_seconds=_LIFE_SECONDS), Streams(InMemoryEventStore())),
        bus=None if shared is None else shared.bus,
        clock=clock,
    )
    await gateway.catalogue.execute()
    await engine.open()
    watchers = [asyncio.create_task(_watch("catalogue", gateway.catalogue.watch()))]
    count = (await container.get(Limiting)).watch
    if count is not None:
        watchers.append(asyncio.create_task(_watch("number of replicas", count())))
    try:
        shown = view or view_of(profile=(await container.get(Settings)).mcp_profile)
        await serve_process(engine, credential or _nobody, tenant=tenant, view=shown)
    finally:
        await engine.close()
        for watcher in watchers:
            watcher.cancel()
        await asyncio.wait(watchers)


async def _nobody() -> Credential:
    return None


def _quieten_collector() -> None:
    """The catalogue lives as long as the process: looking through it again and again would be pauses in calls (40 ms at
    the 99th percentile before this was here). Calls themselves leave hardly any cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def build_container(settings: Settings, *overrides: Provider) -> AsyncContainer:
    """All parts, wired; nothing is started. Providers in `overrides` replace parts and say so with `override=True`."""
    return make_async_container(
        Core(),
        Doors(),
        *overrides,
        context={Settings: settings},
        validation_settings=STRICT_VALIDATION,
    )


def start_logging(settings: Settings) -> None:
    configure_logging("debug" if settings.debug else settings.log_level, settings.log_format)


def app_from_environment() -> AsgiApp:
    """The ASGI application of one server worker."""
    settings = Settings()
    start_logging(settings)
    container = build_container(settings)
    doors: list[AsgiApp] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not doors:  # the first call is the lifespan's: the parts are made in the loop that will serve
            try:
                doors.append(await container.get(Guard))
            except StoaError as refused:
                await receive()
                await send({"type": "lifespan.startup.failed", "message": f"stoa: {refused.message}"})
                return
        await doors[0](scope, receive, send)

    return app
