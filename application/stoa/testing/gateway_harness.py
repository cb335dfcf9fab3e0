"""A whole Gateway for tests: everything is in memory, time stands still, and the recorded events can be read."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from stoa.application.gateway import Gateway
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.application.ports.refusal_watcher import RefusalWatcher
from stoa.domain.access.caller_limits import CallerLimits
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.invocation import BearerToken, Outcome
from stoa.domain.metering.event import MeteringEvent
from stoa.domain.schema.json_value import JsonObject
from stoa.testing.clock import ManualClock
from stoa.testing.ids import SequentialIds
from stoa.testing.invocation_observer import InMemoryInvocationObserver
from stoa.testing.refusal_watcher import InMemoryRefusalWatcher

_PLENTY = RateLimit(requests_per_minute=60_000_000, burst=1_000_000)
UNLIMITED = CallerLimits(roles=dict.fromkeys(("cpi-admin", "tenant-admin", "devops", "viewer"), _PLENTY))
"""Limits that no test reaches."""


class GatewayHarness:
    """A gateway with its recorded events.

        harness = GatewayHarness(principals={"token of ann": Principal.of("ann", tenant="acme", roles=["viewer"])})
        harness.gateway.tool(add)
        outcome = await harness.call("add", {"a": 1, "b": 2}, token="token of ann")
        assert harness.events[-1].status is Status.SUCCESS

    `principals`: callers by their tokens. `limits`: of callers; without them none is reached. `observers` and
    `refusal_watchers` are called like the harness's own. `parts` are further arguments of Gateway, and replace these.
    """

    def __init__(
        self,
        *,
        principals: Mapping[str, Principal] = MappingProxyType({}),
        clock: ManualClock | None = None,
        sink: InMemoryMeteringSink | None = None,
        limits: CallerLimits = UNLIMITED,
        observers: Sequence[InvocationObserver] = (),
        refusal_watchers: Sequence[RefusalWatcher] = (),
        **parts: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        self.sink = sink or InMemoryMeteringSink()
        self.observer = InMemoryInvocationObserver()
        self.refusals = InMemoryRefusalWatcher()
        own: dict[str, Any] = {
            "clock": self.clock,
            "ids": SequentialIds(),
            "verifier": InMemoryTokenVerifier(principals, self.clock),
            "sink": self.sink,
            "limits": limits,
            "observers": [self.observer, *observers],
            "refusal_watchers": [self.refusals, *refusal_watchers],
        }
        self.gateway = Gateway(**(own | parts))

    async def call(
        self, tool: str, arguments: JsonObject, *, token: str | None, channel: ClientChannel | None = None
    ) -> Outcome:
        """Call a tool with a token, which is verified; None: without one."""
        credential = None if token is None else BearerToken(token)
        return await self.gateway.invoke(tool, arguments, credential, channel=channel)

    @property
    def events(self) -> list[MeteringEvent]:
        """The metered events, oldest first."""
        return list(self.sink.events())

    def forget(self) -> None:
        """Forget the events and observations so far."""
        self.sink.drain()
        self.observer.forget()
        self.refusals.seen.clear()
