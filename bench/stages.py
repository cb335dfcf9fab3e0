"""`python -m bench stages`: what each stage of the pipeline costs, in one process and without a network.

The pipeline runs as the server wires it (token, policy in WebAssembly, limits, durable metering, metrics, audit) before
a back end that answers at once. Each row takes one part out, or replaces it by its neutral adapter; its cost is the
difference. Rounds go round the rows, so that a slow spell of the machine hits all of them.
"""

import argparse
import asyncio
import logging
import statistics
import time
from pathlib import Path
from typing import Any

from bench.errors import CannotMeasure
from stoa.application.gateway import Gateway
from stoa.application.memory.clock import SystemClock
from stoa.application.memory.metering import MeteringOff
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.memory.rate_limiter import InMemoryRateLimiter, Unlimited
from stoa.application.ports import BackendCall, CallContext, ToolBackend
from stoa.domain.access.caller_limits import CallerLimits
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.domain.results.result import RawAnswer
from stoa.infrastructure.observability.audit_log import AuditLog
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.infrastructure.oidc import DevIssuer, JwtTokenVerifier, StaticKeys
from stoa.infrastructure.opa.embedded import DEFAULT_BUNDLE, OpaWasmPolicyEngine
from stoa.infrastructure.outbox import OutboxMeteringSink

CROWDED = "everything, among 10,000 tools"
_ISSUER = "http://127.0.0.1/bench"
_PLENTY = RateLimit(requests_per_minute=60_000_000, burst=1_000_000)
_ANSWER = RawAnswer(b'{"id":7,"name":"Rex","tag":"dog"}', "application/json")
_SCHEMA = {
    "type": "object",
    "properties": {"petId": {"type": "integer", "minimum": 1}, "verbose": {"type": "boolean"}},
    "required": ["petId"],
    "additionalProperties": False,
}


class _Instant(ToolBackend):
    kind = "rest"

    def prepare(self, tool: Operation) -> BackendCall:  # noqa: ARG002
        return _InstantCall()

    async def close(self) -> None: ...


class _InstantCall(BackendCall):
    async def __call__(self, arguments: Any, context: CallContext) -> RawAnswer:  # noqa: ARG002
        return _ANSWER


def run(directory: Path, arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench stages")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--calls", type=int, default=500, help="calls per round")
    options = parser.parse_args(arguments)
    logging.getLogger("stoa").setLevel(logging.ERROR)
    asyncio.run(_measure(directory, options.rounds, options.calls))
    return 0


class Parts:
    """What the server wires, in `directory`, with a caller that no limit stops."""

    def __init__(self, directory: Path) -> None:
        self.clock = SystemClock()
        issuer = DevIssuer(directory, _ISSUER, "bench", self.clock, "dev")
        self.verifier = JwtTokenVerifier(
            keys=StaticKeys(issuer.key_set()), issuer=_ISSUER, audiences=frozenset({"bench"}), clock=self.clock
        )
        self.token = BearerToken(
            issuer.issue(subject="ann", tenant="acme", roles=frozenset({"cpi-admin"}), lifetime_seconds=3600)
        )
        self._directory = directory
        self._trail = (directory / "audit.jsonl").open("ab")
        self._audit = AuditLog(self._trail)

    def gateway(
        self, changed: dict[str, Any] | None = None, fields: dict[str, Any] | None = None, *, others: int = 0
    ) -> Gateway:
        """With the tool `getPet`, whose back end answers at once, and `others` like it. `changed`: parts instead of the
        server's; `fields`: of the tool."""
        parts: dict[str, Any] = {
            "clock": self.clock,
            "verifier": self.verifier,
            "policy": OpaWasmPolicyEngine(DEFAULT_BUNDLE),
            "limiter": InMemoryRateLimiter(self.clock),
            "sink": OutboxMeteringSink(self._directory / "outbox", clock=self.clock),
            "observers": [PrometheusObserver(), self._audit],
            "limits": CallerLimits(roles={"cpi-admin": _PLENTY}),
            "backends": [_Instant()],
        }
        gateway = Gateway(**{**parts, **(changed or {})})
        binding = RestBinding(method="GET", base_url="http://127.0.0.1:9", path="/pets")
        tool = {"name": "getPet", "tenant": "acme", "input_schema": _SCHEMA, "binding": binding, **(fields or {})}
        named = Tool.model_validate(tool)
        gateway.add_tools(named, *(named.model_copy(update={"name": f"other-{n}"}) for n in range(others)))
        return gateway

    async def close(self) -> None:
        await asyncio.sleep(0.3)  # the audit trail writes with a delay
        self._trail.close()


async def _measure(directory: Path, rounds: int, calls: int) -> None:
    parts = Parts(directory)
    admin = Principal.of("ann", tenant="acme", roles=["cpi-admin"])
    rows: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
        "everything": ({}, parts.token, {}),
        "without authenticate": ({}, admin, {}),
        "without authorise (the rules in Python instead)": ({"policy": RulesPolicyEngine()}, parts.token, {}),
        "without limits": ({"limiter": Unlimited()}, parts.token, {}),
        "with a tool limit too": ({}, parts.token, {"rate_limit": _PLENTY}),
        "without durable metering": ({"sink": MeteringOff()}, parts.token, {}),
        "without metrics and audit": ({"observers": []}, parts.token, {}),
        "nothing but the pipeline": (
            {"limiter": Unlimited(), "sink": MeteringOff(), "observers": [], "policy": RulesPolicyEngine()},
            admin,
            {},
        ),
    }
    gateways: dict[str, tuple[Gateway, Any]] = {}
    rows[CROWDED] = {}, parts.token, {}
    for name, (changed, credential, fields) in rows.items():
        gateway = parts.gateway(changed, fields, others=9_999 if name == CROWDED else 0)
        outcome = await gateway.invoke("getPet", {"petId": 7}, credential)
        if outcome.result is None or outcome.result.is_error:
            raise CannotMeasure(f"{name}: {outcome.error or outcome.result}")
        gateways[name] = gateway, credential
    spent: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, (gateway, credential) in gateways.items():
            begin = time.process_time()
            for number in range(calls):
                await gateway.invoke("getPet", {"petId": number + 1}, credential)
            spent[name].append((time.process_time() - begin) / calls * 1e6)
    print("CPU µs/call: the least of all rounds, its difference, the median")
    for name, values in spent.items():
        least, whole = min(values), min(spent["everything"])
        print(f"{name:45} {least:6.1f} {least - whole:+7.1f} {statistics.median(values):7.1f}")
    await parts.close()
