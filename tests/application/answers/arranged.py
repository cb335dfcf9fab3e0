"""A gateway with one REST tool whose back end answers what a test chooses."""

import json
from typing import Any

from stoa.application import Gateway, Principal
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.ports import AnswerStore, BackendCall, CallContext, PolicyEngine, Previewable, ToolBackend
from stoa.domain.calls.invocation import Outcome
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision, Obligations, PolicyQuery
from stoa.domain.results.result import EmbeddedResource, RawAnswer, TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject
from stoa.testing.clock import ManualClock

ANN = Principal.of("ann", tenant="acme", roles=["viewer"])
BOB = Principal.of("bob", tenant="acme", roles=["viewer"])
ELSEWHERE = Principal.of("ann", tenant="globex", roles=["viewer"])
SAME_WITH_LESS = Principal.of("ann", tenant="acme", roles=[])


class Hiding(RulesPolicyEngine):
    """Hides these places in the answers of tools."""

    def __init__(self, *pointers: str) -> None:
        super().__init__()
        self._pointers = pointers

    async def decide(self, query: PolicyQuery) -> Decision:
        decision = await super().decide(query)
        pointers = self._pointers if query.operation.kind == "tool" else ()
        return Decision(decision.is_allowed, decision.reason, decision.rules, obligations=Obligations(redact=pointers))


class Answering(ToolBackend):
    kind = "rest"

    def __init__(self) -> None:
        self.answer: RawAnswer | ToolResult = RawAnswer(b"{}", "application/json")
        self.received: list[JsonObject] = []

    def prepare(self, tool: Operation) -> BackendCall:
        return _Call(self)

    async def close(self) -> None:
        pass


class _Call(BackendCall, Previewable):
    def __init__(self, backend: Answering) -> None:
        self._backend = backend

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer | ToolResult:
        self._backend.received.append(arguments)
        return self._backend.answer

    def preview(self, arguments: JsonObject) -> JsonObject:
        return {"arguments": arguments}


class Arranged:
    """`spec`: fields of the Tool `orders`, whose arguments are `page` and `jmespath`, if it takes them."""

    def __init__(self, *, policy: PolicyEngine | None = None, answers: AnswerStore | None = None, **spec: Any) -> None:
        self.clock = ManualClock()
        self.sink = InMemoryMeteringSink()
        self.backend = Answering()
        self.gateway = Gateway(
            backends=[self.backend], policy=policy, sink=self.sink, clock=self.clock, answers=answers
        )
        self.spec = {"endpoint": "http://127.0.0.1:9/orders", **spec}

    async def load(self) -> None:
        manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Tool", "metadata": {"name": "orders"}}
        assert not await self.gateway.add_manifest({**manifest, "spec": self.spec})

    async def call(self, answer: Any = None, caller: Principal = ANN, **arguments: Any) -> Outcome:
        """`answer`: of the back end from now on; anything but an answer is JSON."""
        if answer is not None:
            is_answer = isinstance(answer, (RawAnswer, ToolResult))
            self.backend.answer = (
                answer if is_answer else RawAnswer(json.dumps(answer).encode(), "application/json", status="200 OK")
            )
        return await self.gateway.invoke("orders", arguments, caller)

    async def read(self, uri: str, caller: Principal = ANN) -> Outcome:
        return await self.gateway.invoke(uri, {}, caller, kind="resource")


def texts(outcome: Outcome) -> list[str]:
    assert outcome.error is None, outcome.error
    assert outcome.result is not None
    return [block.text for block in outcome.result.content if isinstance(block, TextContent)]


def contents(outcome: Outcome) -> list[EmbeddedResource]:
    return [block for block in outcome.content().content if isinstance(block, EmbeddedResource)]
