"""Explains what would happen to a call, stage by stage, without making it: for callers who need the reason of a
refusal.

Callers learn about themselves and about operations that they may see. Platform admins alone learn the reason of an
absence; to others every absence is the same. The request to the back end (its URL, the values that the tool's author
fixed, the name of the secret) is shown to callers who may know how the tool is made: platform admins, and tenant admins
for the tools of their tenant.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from stoa.application.admission.callers import Callers, operation_charges
from stoa.application.catalogue.compiled_operation import CompiledOperation
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.metering.pricing import Pricing
from stoa.application.ports.clock import Clock
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.tool_backend import Previewable
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.rate_limit import LimitName, RateLimit
from stoa.domain.calls.invocation import Credential
from stoa.domain.errors import InvalidArguments, Violation, not_found
from stoa.domain.metering.money import MicroUnits
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision, Door, PolicyQuery
from stoa.domain.schema.json_value import JsonObject


@dataclass(frozen=True, slots=True)
class LimitLeft:
    """A rate limit that the call would count against."""

    name: LimitName
    limit: RateLimit
    left: int
    """Calls that the limit would allow right now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The explanation of one call. Fields are None or empty where the call would end before that stage."""

    tool: str
    absence: str | None = None
    """The reason why there is no such tool; no later stage is explained then."""
    decision: Decision | None = None
    lowered: str | None = None
    """The party that lowered the required scope below that of the tool's method; None: it is not lowered."""
    limits: tuple[LimitLeft, ...] = ()
    coerced: tuple[str, ...] = ()
    """Places of the arguments that are coerced to the type of their schema."""
    tolerated: tuple[str, ...] = ()
    """Places where the arguments miss the schema and are let through."""
    violations: tuple[Violation, ...] = ()
    """Places where the arguments do not fit the schema, and are refused."""
    price: MicroUnits | None = None
    """The price of a call that takes no time; latency may add to it."""
    fixed: JsonObject = field(default_factory=dict[str, Any])
    """Arguments that the tool's author fixed, by their names at the back end; of a secret its name. Empty also for
    callers who may not know them."""
    request: JsonObject | None = None
    """The request that the back end would get, without secrets; None also for callers who may not know it."""


class ExplainCall:
    def __init__(
        self,
        *,
        callers: Callers,
        registry: OperationRegistry,
        policy: PolicyEngine,
        limiter: RateLimiter,
        pricing: Pricing,
        clock: Clock,
    ) -> None:
        self._callers = callers
        self._registry = registry
        self._policy = policy
        self._limiter = limiter
        self._pricing = pricing
        self._clock = clock

    async def execute(
        self,
        credential: Credential,
        tenant: TenantId | None,
        name: str,
        arguments: JsonObject,
        door: Door,
        *,
        to_operator: bool = False,
    ) -> Explanation:
        """Explain a call. `to_operator`: the explanation is for an operator, who has the manifests at hand.

        Raises OperationNotFound where the caller may not know more, NotAuthenticated, QuotaExceeded or Unavailable."""
        caller = await self._callers.authenticate(credential)
        await self._callers.limit(caller)
        principal = caller.acting_for(tenant)
        if principal is None:
            raise not_found("tool", name)
        registered = self._registry.find(principal.tenant, name)
        if registered is None:
            if not caller.is_platform_admin:
                raise not_found("tool", name)
            return Explanation(tool=name, absence=_absence(self._registry.catalogue, principal, name))
        explanation = await self._explain(principal, registered, arguments, door)
        if to_operator or caller.administers(registered.operation.tenant):
            return explanation
        return replace(explanation, fixed={}, request=None)

    async def _explain(
        self, principal: Principal, registered: CompiledOperation, arguments: JsonObject, door: Door
    ) -> Explanation:
        tool = registered.operation
        if not registered.arguments.is_ready:
            await self._registry.make_ready(registered)
        arguments, coerced = registered.arguments.normalise_noting(arguments)  # what the policy sees in a call
        changes = registered.changes
        seen = arguments if changes is None else changes.shown(arguments, principal)
        decision = await self._policy.decide(PolicyQuery(principal, tool, seen, door))
        fixed = {} if changes is None else {name: value.shown(principal) for name, value in changes.fixed.items()}
        explanation = Explanation(tool=tool.identifier, decision=decision, lowered=_lowering(tool), fixed=fixed)
        if not decision.is_allowed:
            return explanation
        explanation = replace(
            explanation,
            coerced=coerced,
            limits=await self._limits(principal, registered, decision),
            price=self._pricing.tariff(tool, principal.tenant, self._clock.now()).quote(latency_ms=0),
        )
        try:
            explanation = replace(explanation, tolerated=registered.arguments.check(arguments))
            call = registered.backend_call
            if not isinstance(call, Previewable):
                return explanation
            # In a thread, as the first preview may import what the first call would.
            return replace(explanation, request=await asyncio.to_thread(call.preview, arguments))
        except InvalidArguments as invalid:
            return replace(explanation, violations=invalid.violations)

    async def _limits(
        self, principal: Principal, registered: CompiledOperation, decision: Decision
    ) -> tuple[LimitLeft, ...]:
        charges = self._callers.charges(principal) + operation_charges(registered.operation, principal, decision)
        left = await self._limiter.peek(charges)
        return tuple(LimitLeft(charge.name, charge.limit, rest) for charge, rest in zip(charges, left, strict=True))


def _lowering(tool: Operation) -> str | None:
    if tool.lowered_by is None:
        return None
    return f"{tool.access.value} instead of {tool.method_access.value}, lowered by {tool.lowered_by}"


def _absence(catalogue: Catalogue, principal: Principal, name: str) -> str:
    """The reason why a name is absent, in words for platform admins."""
    owners = sorted(key.tenant for key in catalogue.tools if key.name == name and key.tenant is not None)
    if owners:
        return f"it belongs to {', '.join(owners)}; you are looking at {principal.tenant or 'what is global'}"
    return "no tool of this name is registered, or it is disabled; /ready lists what could not be registered"
