"""A pipeline whose every part tells when it was asked, and does what a test says instead."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stoa.application.admission.callers import Callers
from stoa.application.answers.answer_pieces import AnswerPieces
from stoa.application.answers.long_answers import LongAnswers
from stoa.application.calls.invoke_operation import RUNNING, InvokeOperation
from stoa.application.catalogue.caller_view import CallerView
from stoa.application.catalogue.complete_argument import CompleteArgument
from stoa.application.catalogue.list_operations import ListOperations
from stoa.application.catalogue.operation_registry import CompiledOperation, OperationRegistry
from stoa.application.memory.answer_store import InMemoryAnswerStore
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.memory.rate_limiter import InMemoryRateLimiter
from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.application.metering.pricing import Pricing
from stoa.application.metering.recorder import Recorder
from stoa.application.ports import BackendCall, CallContext, ClientChannel, PolicyEngine, RateLimiter, ToolBackend
from stoa.domain.access.caller_limits import CallerLimits
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.errors import InvalidInput
from stoa.domain.metering.event import MeteringEvent
from stoa.domain.metering.price_list import PriceList
from stoa.domain.operations.operation import Kind, Operation
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.policy.decision import Decision, PolicyQuery
from stoa.domain.results.result import RawAnswer, TextContent, ToolResult
from stoa.testing.clock import ManualClock
from stoa.testing.ids import SequentialIds
from stoa.testing.invocation_observer import InMemoryInvocationObserver

Behaviour = Callable[[dict[str, Any], CallContext], Awaitable[RawAnswer | ToolResult]]

ANN = Principal.of("ann", tenant="acme", roles=["viewer"])
PLENTY = RateLimit(requests_per_minute=60_000_000, burst=1_000_000)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}


def tool(name: str = "count", **fields: Any) -> Tool:
    return Tool.model_validate(
        {"name": name, "tenant": "acme", "input_schema": SCHEMA, "binding": LocalBinding(function=name), **fields}
    )


async def answers(arguments: dict[str, Any], context: CallContext) -> ToolResult:
    return ToolResult((TextContent("done"),))


def raises(error: BaseException) -> Callable[..., Any]:
    async def behaviour(*args: Any, **kwargs: Any) -> Any:
        raise error

    return behaviour


def waits(reached: asyncio.Event) -> Callable[..., Any]:
    """Never answers; `reached` is set when it is asked."""

    async def behaviour(*args: Any, **kwargs: Any) -> Any:
        reached.set()
        return await asyncio.get_running_loop().create_future()

    return behaviour


class ScriptedBackend(ToolBackend):
    kind = "local"

    def __init__(self, trace: list[str]) -> None:
        self._trace = trace
        self.behaviour: Behaviour = answers
        self.refused: set[str] = set()
        self.prepared: list[str] = []
        self.received: list[tuple[dict[str, Any], CallContext]] = []

    def prepare(self, tool: Operation) -> BackendCall:
        if tool.identifier in self.refused:
            raise InvalidInput(f"{tool.identifier} cannot be called")
        self.prepared.append(str(tool.key))
        return _ScriptedCall(self, self._trace)

    async def close(self) -> None:
        pass


class _ScriptedCall(BackendCall):
    def __init__(self, backend: ScriptedBackend, trace: list[str]) -> None:
        self._backend = backend
        self._trace = trace

    async def __call__(self, arguments: dict[str, Any], context: CallContext) -> RawAnswer | ToolResult:
        self._trace.append("call")
        self._backend.received.append((arguments, context))
        return await self._backend.behaviour(arguments, context)


class TracedRegistry(OperationRegistry):
    def __init__(self, backend: ToolBackend, trace: list[str]) -> None:
        super().__init__([backend])
        self._trace = trace

    def find(self, tenant: Any, name: str, kind: Kind = "tool") -> CompiledOperation | None:
        self._trace.append("find")
        return super().find(tenant, name, kind)


class Tracer:
    """Notes that a part was asked, and who answers in its place."""

    def __init__(self, trace: list[str], instead: dict[str, Callable[..., Any]]) -> None:
        self._trace = trace
        self._instead = instead

    def asked(self, step: str, part: Callable[..., Any]) -> Callable[..., Any]:
        self._trace.append(step)
        return self._instead.get(step) or part


class TracedVerifier(InMemoryTokenVerifier):
    def __init__(self, tracer: Tracer, principals: Mapping[str, Principal], clock: ManualClock) -> None:
        super().__init__(principals, clock)
        self._tracer = tracer

    async def verify(self, token: str) -> Principal:
        return await self._tracer.asked("authenticate", super().verify)(token)


class TracedPolicy(PolicyEngine):
    def __init__(self, tracer: Tracer, engine: PolicyEngine) -> None:
        self._tracer = tracer
        self._engine = engine

    async def decide(self, query: PolicyQuery) -> Decision:
        return await self._tracer.asked("authorise", self._engine.decide)(query)

    async def visible(self, principal: Principal, tools: Any, door: Any) -> Any:
        return await self._engine.visible(principal, tools, door)


class TracedLimiter(RateLimiter):
    def __init__(self, tracer: Tracer, limiter: RateLimiter) -> None:
        self._tracer = tracer
        self._limiter = limiter

    def refusal(self, claims: Any) -> Any:
        return self._tracer.asked("known limit", self._limiter.refusal)(claims)

    async def take(self, claims: Any) -> Any:
        step = "limit " + " ".join(claim.name for claim in claims)
        return await self._tracer.asked(step, self._limiter.take)(claims)

    async def peek(self, claims: Any) -> Any:
        return await self._limiter.peek(claims)


class TracedSink(InMemoryMeteringSink):
    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def reserve(self) -> None:
        self._tracer.asked("reserve", super().reserve)()

    async def record(self, event: MeteringEvent, *, is_reserved: bool = True) -> None:
        await self._tracer.asked("record", super().record)(event, is_reserved=is_reserved)

    async def record_refusal(self, event: MeteringEvent, *, is_summary: bool = False) -> None:
        await self._tracer.asked("record", super().record_refusal)(event, is_summary=is_summary)


class Pipeline:
    """`trace` is the order in which parts were asked. Setting an entry of `instead` replaces that part's answer."""

    def __init__(self, *tools: Operation, anonymous: Principal | None = None, limit: RateLimit = PLENTY, **parts: Any):
        self.trace: list[str] = []
        self.instead: dict[str, Callable[..., Any]] = {}
        self.clock = ManualClock()
        self.backend = ScriptedBackend(self.trace)
        tracer = Tracer(self.trace, self.instead)
        self.sink = TracedSink(tracer)
        self.observer = InMemoryInvocationObserver()
        self.registry = TracedRegistry(self.backend, self.trace)
        self.findings = self.registry.replace(tools)
        self.verifier = TracedVerifier(tracer, {"good": ANN}, self.clock)
        self.policy = TracedPolicy(tracer, parts.get("policy") or RulesPolicyEngine())
        self.limiter = TracedLimiter(tracer, parts.get("limiter") or InMemoryRateLimiter(self.clock))
        callers = Callers(
            verifier=self.verifier,
            limiter=self.limiter,
            clock=self.clock,
            limits=CallerLimits(
                roles=dict.fromkeys(["cpi-admin", "tenant-admin", "devops", "viewer"], limit), **parts.get("limits", {})
            ),
            anonymous=anonymous,
        )
        self.recorder = Recorder(self.sink, parts.get("observers", [self.observer]), self.clock)
        self.invoke_operation = InvokeOperation(
            callers=callers,
            registry=self.registry,
            policy=self.policy,
            limiter=self.limiter,
            recorder=self.recorder,
            ids=SequentialIds(),
            pricing=Pricing(parts.get("prices", PriceList())),
            long_answers=LongAnswers(AnswerPieces(InMemoryAnswerStore(self.clock))),
            budgets=parts.get("budgets"),
            running=parts.get("running", RUNNING),
        )
        self.view = CallerView(lambda: self.registry.catalogue, self.policy)
        self.list_tools = ListOperations(Tool, callers=callers, view=self.view)
        self.list_resources = ListOperations(Resource, callers=callers, view=self.view)
        self.list_prompts = ListOperations(Prompt, callers=callers, view=self.view)
        self.complete_argument = CompleteArgument(callers=callers, view=self.view)

    @property
    def events(self) -> list[MeteringEvent]:
        return list(self.sink.events())

    async def invoke(
        self,
        tool: str = "count",
        arguments: Any = None,
        credential: Any = ANN,
        channel: ClientChannel | None = None,
        **rest: Any,
    ) -> Outcome:
        asked = Invocation(
            credential=credential,
            name=tool,
            arguments={} if arguments is None else arguments,
            door=rest.pop("door", "library"),
            **rest,
        )
        async with asyncio.timeout(20):
            return await self.invoke_operation.execute(asked, channel)
