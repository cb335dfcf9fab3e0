"""Providers of the parts that govern a call: identity, policy, limits, prices and budgets."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from dishka import Provider
from dishka import Scope as Lifetime
from dishka import provide as provide  # pyright: ignore[reportUnknownVariableType]  # its overloads are untyped

from stoa.application.concurrency.circuit_breaker import CircuitBreaker
from stoa.application.concurrency.supervisor import Supervisor
from stoa.application.manifests.prices import parse_budgets, parse_price_list
from stoa.application.memory.budget_ledger import InMemoryBudgetLedger
from stoa.application.memory.fallback_rate_limiter import FallbackRateLimiter
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.memory.rate_limiter import DividedRateLimiter, InMemoryRateLimiter, Unlimited
from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.application.metering.budgets import Budgets
from stoa.application.ports.clock import Clock
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.access.identity import ALL_SCOPES
from stoa.domain.metering.price_list import PriceList
from stoa.infrastructure.files.credentials.deployment_secret import load_or_create
from stoa.infrastructure.files.manifests import DEFAULT_PRICES_FILE, read_document
from stoa.infrastructure.http_client import HostResolver, OutboundRules
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.interfaces.bootstrap.parts import IdentityPart, LimiterPart, MeteringPart, OptionalSharedState, PolicyPart
from stoa.interfaces.settings import Settings

DEV_ISSUER = "http://127.0.0.1/stoa-dev-issuer"
"""Issuer identifier of development tokens, independent of the port, so that a token outlives a restart."""

_LIMITS_WAIT_SECONDS = 0.5
"""Timeout of Redis for limits. A shorter one would mistake a busy moment of this process for an outage."""


class Governance(Provider):
    """Provides identity, policy, limits, prices and budgets."""

    scope = Lifetime.APP

    @provide
    async def identity(
        self,
        settings: Settings,
        clock: Clock,
        rules: OutboundRules,
        resolver: HostResolver,
        supervisor: Supervisor,
    ) -> AsyncIterator[IdentityPart]:
        if settings.identity == "none":
            yield IdentityPart(InMemoryTokenVerifier({}, clock), None)
            return
        if settings.identity != "dev-issuer":
            from stoa.interfaces.bootstrap.openid_provider import openid_provider

            provider = openid_provider(settings, clock, rules, resolver, supervisor.report)
            yield IdentityPart(provider, None, provider, probes=(provider,), background={"token keys": provider.watch})
            await provider.close()
            return
        from stoa.infrastructure import oidc  # 80 ms, imported only where tokens are verified

        audience = min(settings.audiences, key=lambda name: ("://" in name, name))
        # Where scopes are required its tokens have all of them, which limits nothing: the roles decide.
        scopes = ("openid", *(ALL_SCOPES if settings.require_scopes else ()))
        issuer = oidc.DevIssuer(settings.data_dir, DEV_ISSUER, audience, clock, settings.environment, scopes)
        keys = oidc.StaticKeys(issuer.key_set())
        mapping = oidc.ClaimMapping(requires_scopes=settings.require_scopes)
        verifier = oidc.JwtTokenVerifier(
            keys=keys, issuer=DEV_ISSUER, audiences=settings.audiences, clock=clock, mapping=mapping
        )
        yield IdentityPart(verifier, issuer)

    @provide
    async def policing(self, settings: Settings, clock: Clock, resolver: HostResolver) -> AsyncIterator[PolicyPart]:
        if not settings.opa_enabled:
            rules = RulesPolicyEngine()
            yield PolicyPart(rules, probes=(rules,))
        elif settings.opa_embedded:
            from stoa.interfaces.bootstrap.embedded_policy import embedded_policy  # with wasmtime

            yield embedded_policy(settings)
        else:
            from stoa.infrastructure.opa.sidecar import OpaServerPolicyEngine

            server = OpaServerPolicyEngine(settings.opa_url, clock, environment=settings.environment, resolver=resolver)
            yield PolicyPart(server, probes=(server,), background={"policy": server.watch})
            await server.close()

    @provide
    def policy(self, policy_part: PolicyPart) -> PolicyEngine:
        return policy_part.engine

    @provide
    async def limiting(
        self,
        settings: Settings,
        clock: Clock,
        prometheus: PrometheusObserver,
        breaker: CircuitBreaker,
        supervisor: Supervisor,
    ) -> AsyncIterator[LimiterPart]:
        if not settings.rate_limit_enabled:
            yield LimiterPart(Unlimited())
            return
        if settings.redis_url is None:
            alone = InMemoryRateLimiter(clock)
            several = settings.replicas > 1
            yield LimiterPart(DividedRateLimiter(alone, lambda: settings.replicas) if several else alone)
            return
        from stoa.infrastructure import redis  # 6 MiB, imported only with REDIS_URL

        # A connection of its own: a call waits for less long than a session does, for there is another way to count.
        url = settings.redis_url.get_secret_value()
        connection = redis.RedisConnection(
            url, timeout_seconds=_LIMITS_WAIT_SECONDS, breaker=breaker, report=supervisor.report
        )
        replicas = redis.ReplicaCount(connection, assumed=settings.replicas)
        shared = redis.RedisRateLimiter(connection, clock, report=supervisor.report)
        limiter = FallbackRateLimiter(shared, clock, replicas, told=prometheus.limits().told)
        yield LimiterPart(limiter, probes=(limiter,), background={"number of replicas": replicas.watch})
        await replicas.leave()
        await connection.close()

    @provide
    def limiter(self, limiter_part: LimiterPart) -> RateLimiter:
        return limiter_part.limiter

    @provide
    def prices(self, settings: Settings) -> PriceList:
        return read_prices(settings)

    @provide
    def budgets(
        self,
        settings: Settings,
        clock: Clock,
        shared: OptionalSharedState,
        metering: MeteringPart,
        prometheus: PrometheusObserver,
    ) -> Budgets:
        path = settings.budgets_path
        limits = () if path is None else parse_budgets(read_document(path), f"BUDGETS_PATH={path}")
        if shared.parts is not None:
            recovered = Budgets(limits, shared.parts.budgets, clock, [prometheus])
            if limits and settings.metering_enabled:
                log = hashlib.sha256(b"log of events:" + load_or_create(settings.data_dir)).hexdigest()
                shared.parts.recover_budgets(log, lambda: recovered.recorded(metering.log.events()))
            return recovered
        ledger = InMemoryBudgetLedger()
        budgets = Budgets(limits, ledger, clock, [prometheus])
        if limits:
            for account, spent in budgets.recorded(metering.log.events()).items():
                ledger.prime(account, spent)
        return budgets


def read_prices(settings: Settings) -> PriceList:
    """Reads the price list of PRICES_PATH. Raises InvalidInput."""
    path = settings.prices_path or DEFAULT_PRICES_FILE
    return parse_price_list(read_document(path), f"PRICES_PATH={path}")


def policy_of(bundle: Path) -> PolicyEngine:
    """Loads the policy in a bundle, without the rest of the gateway. Raises InvalidInput if it cannot be used."""
    from stoa.infrastructure.opa.embedded import OpaWasmPolicyEngine

    return OpaWasmPolicyEngine(bundle)
