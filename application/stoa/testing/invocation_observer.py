"""Remembers finished invocations and counted refusals."""

from collections import Counter

from stoa.application.ports.invocation_observer import InvocationObserver, RefusalObserver
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.policy.decision import Door


class InMemoryInvocationObserver(InvocationObserver, RefusalObserver):
    """Stores each finished invocation with its outcome in `seen`."""

    def __init__(self) -> None:
        self.seen: list[tuple[Invocation, Outcome]] = []
        self.counted: Counter[tuple[Door, Status, str]] = Counter()
        """Refusals without an event of their own, by door, status and the error's code."""
        self.summaries: list[MeteringEvent] = []

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        self.seen.append((invocation, outcome))

    def refused(self, door: Door, status: Status, code: str, calls: int) -> None:
        self.counted[door, status, code] += calls

    def summarised(self, event: MeteringEvent, name: str) -> None:  # noqa: ARG002
        self.summaries.append(event)

    def forget(self) -> None:
        self.seen.clear()
        self.counted.clear()
        self.summaries.clear()
