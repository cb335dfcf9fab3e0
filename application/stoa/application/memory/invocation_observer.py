"""Remembers finished invocations, for tests and for embedding programs that do their own accounting."""

from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.domain.invocation import Invocation, Outcome


class InMemoryInvocationObserver(InvocationObserver):
    def __init__(self) -> None:
        self.seen: list[tuple[Invocation, Outcome]] = []

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        self.seen.append((invocation, outcome))
