"""Evaluates policies on an OPA server over its REST API (`POST /v1/data/...`), usually a sidecar on loopback.

Decisions are not cached: the server's policy may change at any time without notice. A query without an answer in time,
or with an undefined one, is refused. After several failures in a row the server is not asked for a while, so that calls
are refused at once instead of waiting one after the other.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import pydantic_core
from yarl import URL

from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.domain.access.identity import Principal
from stoa.domain.errors import PolicyUnavailable
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision, Door, PolicyQuery
from stoa.domain.schema.json_value import is_object
from stoa.infrastructure.http_client import HostResolver
from stoa.infrastructure.http_client.client import HttpClient
from stoa.infrastructure.http_client.problems import connection_problem
from stoa.infrastructure.opa.documents import (
    DECISION,
    VISIBLE,
    InputWriter,
    PolicyAnswerInvalid,
    decision_of,
    positions_of,
)

T = TypeVar("T")
O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind

TIMEOUT_SECONDS = 1.0
PROBE_SECONDS = 2.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
FAILURES_BEFORE_PAUSE = 5
PAUSE_SECONDS = 1.0
_BATCH = 1000
_REFUSED = "The policy server gave no decision, so the call is refused"

_FAILURES = (OSError, ValueError, PolicyAnswerInvalid)

_log = logging.getLogger(__name__)


class OpaServerPolicyEngine(PolicyEngine, HealthProbe):
    """Decides by an OPA server. `url`: the server's URL, without a path. `environment`: the value of
    input.environment.name."""

    name = "policy"

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        environment: str = "dev",
        resolver: HostResolver | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url = URL(url.rstrip("/"))
        self._clock = clock
        self._writer = InputWriter(environment)
        # Without rules: the address is the operator's own setting, often one of the machine that no rule allows.
        self._http = HttpClient(None, resolver, timeout_seconds=timeout_seconds, max_answer_bytes=MAX_ANSWER_BYTES)
        self._failures = 0
        self._closed_until_ns = 0
        self._health = Health(False, "not asked yet")

    async def decide(self, query: PolicyQuery) -> Decision:
        decision, _ = await self._ask(DECISION, self._writer.question(query), decision_of)
        return decision

    async def visible(self, principal: Principal, tools: Sequence[O], door: Door) -> Sequence[O]:
        visible_tools: list[O] = []
        for start in range(0, len(tools), _BATCH):
            batch = tools[start : start + _BATCH]
            document = self._writer.listing(principal, [*batch], door)
            positions = await self._ask(VISIBLE, document, partial(positions_of, count=len(batch)))
            visible_tools += [tool for position, tool in enumerate(batch) if position in positions]
        return visible_tools

    async def watch(self) -> None:
        """Keeps `health` current while no calls arrive, until cancelled."""
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_SECONDS)

    async def probe(self) -> None:
        """Requests a decision without input, which a server without the policy leaves undefined."""
        try:
            decision_of(await self._value(DECISION, b"{}"))
        except _FAILURES as caught:
            self._become(Health(False, f"{self._url}: {_reason(caught)}"))
        else:
            self._become(Health(True, str(self._url)))

    def health(self) -> Health:
        return self._health

    async def close(self) -> None:
        await self._http.close()

    async def _ask(self, rule: str, document: bytes, read: Callable[[Any], T]) -> T:
        if self._clock.monotonic_ns() < self._closed_until_ns:
            raise PolicyUnavailable(_REFUSED)
        try:
            answer = read(await self._value(rule, document))
        except _FAILURES as caught:
            self._failed(caught)
            raise PolicyUnavailable(_REFUSED) from caught
        self._failures = 0
        return answer

    async def _value(self, rule: str, document: bytes) -> Any:
        """Raises one of _FAILURES."""
        url = self._url.joinpath("v1", "data", *rule.split("/"))
        headers = {"Content-Type": "application/json"}
        answer = await self._http.request("POST", url, data=b'{"input":%b}' % document, headers=headers)
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        value = pydantic_core.from_json(answer.body)
        if not is_object(value):
            raise PolicyAnswerInvalid("the answer is no object")
        return value.get("result")

    def _failed(self, caught: Exception) -> None:
        self._failures += 1
        _log.error("the policy server gave no decision: %s: %s", self._url, _reason(caught))
        if self._failures >= FAILURES_BEFORE_PAUSE:
            self._failures = 0
            self._closed_until_ns = self._clock.monotonic_ns() + int(PAUSE_SECONDS * 1e9)

    def _become(self, health: Health) -> None:
        if health.is_ready != self._health.is_ready:
            level = logging.INFO if health.is_ready else logging.ERROR
            _log.log(level, "policy server: %s", health.detail)
        self._health = health


def _reason(caught: Exception) -> str:
    """The reason of a failure, for operators."""
    is_own = isinstance(caught, (PolicyAnswerInvalid, ValueError)) and not isinstance(caught, OSError)
    return f"{type(caught).__name__}: {caught}" if is_own else connection_problem(caught)
