"""Observers of invocations in addition to the metering sink: metrics, the audit trail, traces."""

from abc import abstractmethod
from typing import Protocol, runtime_checkable

from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.policy.decision import Door


class InvocationObserver(Protocol):
    """Laws: `finished` is called exactly once for each invocation that has a metering event of its own, after that is
    kept (a RefusalObserver hears of the others). It is called likewise for each client request of an invocation:
    `outcome.client_request` is then its kind, and `invocation` the call that made it. A client request that the policy
    refused is reported too, and its event is not kept. Quick, does not block.

    Its exceptions are logged and do not change the outcome: the call has already happened.
    """

    @abstractmethod
    def finished(self, invocation: Invocation, outcome: Outcome) -> None: ...


@runtime_checkable
class RefusalObserver(Protocol):
    """An InvocationObserver that hears of refused calls without a metering event of their own.

    Laws: every finished invocation is reported either to `finished`, or to `refused` as one of its `calls`, never to
    both. `summarised` is called for each event that stands for such calls, after it is kept. Both are quick and do not
    block.
    """

    @abstractmethod
    def refused(self, door: Door, status: Status, code: str, calls: int) -> None:
        """Called for each refused call, at once. `code`: the error's."""
        ...

    @abstractmethod
    def summarised(self, event: MeteringEvent, name: str) -> None:
        """Called for each recorded summary. `name`: the operation that the first of the calls named, as it was sent."""
        ...


class Span(Protocol):
    """One call, or a part of it, from its start to its end (OpenTelemetry "Span").

    Laws: `end` is called once, after the ends of all children. All methods are quick and do not block.
    """

    @property
    @abstractmethod
    def trace(self) -> TraceContext | None:
        """The trace context to send to a back end; None: none is sent."""
        ...

    @abstractmethod
    def child(self, name: str) -> "Span":
        """Begin a part of this span: a stage, or a step of a back end."""
        ...

    @abstractmethod
    def end(self, outcome: Outcome | None = None) -> None:
        """End the span. `outcome`: of the whole call; None for its parts."""
        ...


@runtime_checkable
class InvocationTracer(Protocol):
    """An InvocationObserver that follows invocations from their start.

    Law: every `started` span ends, with the outcome of its call, cancelled calls included. Exceptions of a tracer or
    its spans are logged and change nothing.
    """

    @abstractmethod
    def started(self, invocation: Invocation) -> Span:
        """Begin the span of a call, before the caller is authenticated. `invocation.trace` is the trace that the caller
        belongs to."""
        ...
